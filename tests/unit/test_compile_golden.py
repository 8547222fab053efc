"""Whole plans, line by line. A change here is a change of what every container is made of."""

from __future__ import annotations

from typing import Any

import pytest
from unit.compile_support import everything, golden, host_document, runc_document, spec_of

from shim.engine.compile import Options, create_plan, exec_plan, namespace_mask
from shim.model.plan import Op, pack

CREATE = {"runc-spec": runc_document, "everything": everything, "host-overlay": host_document}


def lines(ops: list[Op]) -> list[str]:
    """Every field of every op: the words, and below them what the executor is told."""
    found = []
    for op in ops:
        found.append(op.describe())
        told = [
            f"{name}={value!r}"
            for name in ("flags", "fd", "num", "str", "list", "list2", "nums")
            if (value := getattr(op, name)) or (name == "nums" and value is not None)
        ]
        if told:
            found.append("    " + " ".join(told))
    return found


@pytest.mark.parametrize("name", CREATE)
def test_create(name: str) -> None:
    ops = create_plan(spec_of(CREATE[name]()), Options(keyring="_ses.c", rootfs="/bundle/rootfs"))
    golden(f"plan-create-{name}.txt", lines(ops))
    pack(ops)


def test_create_with_every_flag() -> None:
    """--no-pivot, --no-new-keyring, --preserve-fds; every namespace joined."""
    document: dict[str, Any] = runc_document()
    document["linux"]["namespaces"] = [
        {"type": kind, "path": f"/run/ns/{kind}"}
        for kind in ("user", "pid", "network", "ipc", "uts", "cgroup", "time")
    ] + [{"type": "mount"}]
    golden(
        "plan-create-joined.txt",
        lines(create_plan(spec_of(document), Options(no_pivot=True, preserve_fds=3))),
    )


@pytest.mark.parametrize("name", ["runc-spec", "everything"])
def test_exec(name: str) -> None:
    """As `exec -t`: the process of config.json has a terminal."""
    spec = spec_of(CREATE[name]())
    assert spec.process is not None
    ops = exec_plan(spec.process, namespace_mask(spec), (7, 8, 9), Options(keyring="_ses.c"))
    golden(f"plan-exec-{name}.txt", lines(ops))
    pack(ops)


def test_the_words_hold_no_arguments_and_no_environment() -> None:
    """Plans are printed by explain and quoted in errors; secrets are passed in args and env."""
    spec = spec_of(everything())
    assert spec.process is not None
    plans = [create_plan(spec, Options()), exec_plan(spec.process, 0, (0, 0, 0), Options())]
    for ops in plans:
        assert "hunter2" not in "\n".join(op.describe() for op in ops)
        assert "hunter2" in repr([op.list for op in ops])
