"""config.json `process`: rlimits, noNewPrivileges, oomScoreAdj; signals."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from root.config_support import (
    exec_status,
    in_user_namespace,
    init_file,
    own_capabilities,
    status_of,
)
from support.runtime import Runtime

LIMITS = {
    "RLIMIT_CORE": "Max core file size", "RLIMIT_CPU": "Max cpu time",
    "RLIMIT_DATA": "Max data size", "RLIMIT_FSIZE": "Max file size",
    "RLIMIT_LOCKS": "Max file locks", "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_MSGQUEUE": "Max msgqueue size", "RLIMIT_NICE": "Max nice priority",
    "RLIMIT_NOFILE": "Max open files", "RLIMIT_NPROC": "Max processes",
    "RLIMIT_RSS": "Max resident set", "RLIMIT_RTPRIO": "Max realtime priority",
    "RLIMIT_RTTIME": "Max realtime timeout", "RLIMIT_SIGPENDING": "Max pending signals",
    "RLIMIT_STACK": "Max stack size",
}  # fmt: skip


def limits_of(text: str) -> dict[str, tuple[str, str]]:
    found = {}
    for line in text.splitlines()[1:]:
        soft, hard = line[26:].split()[:2]
        found[line[:26].strip()] = (soft, hard)
    return found


@pytest.mark.parametrize("user_namespace", [False, True], ids=["root", "user namespace"])
def test_rlimits(rt: Runtime, user_namespace: bool) -> None:
    """Lowered ones, all of them: to raise one takes CAP_SYS_RESOURCE."""
    mine = limits_of(Path("/proc/self/limits").read_text())
    wanted = {}
    for number, (name, label) in enumerate(LIMITS.items()):
        hard = mine[label][1]
        # above what the process itself needs, and each different
        top = (1 << 30) + number if hard == "unlimited" else min(int(hard), (1 << 30) + number)
        wanted[name] = (max(0, top - 1), top)
    rlimits = [{"type": name, "soft": s, "hard": h} for name, (s, h) in wanted.items()]
    config = rt.config(process={"rlimits": rlimits})
    if user_namespace:
        in_user_namespace(config)
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    expected = {LIMITS[name]: (str(s), str(h)) for name, (s, h) in wanted.items()}
    for text in (init_file(rt, "limits").decode(), rt.output("c", "cat", "/proc/self/limits")):
        found = limits_of(text)
        assert {label: found[label] for label in expected} == expected


def test_a_tiny_nofile_limit_is_no_obstacle_to_the_setup(rt: Runtime) -> None:
    """The plan's own descriptors are more than 4; the limit is the process's, not ours."""
    rt.running(process={"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4, "hard": 4}]})
    assert rt.output("c", "sh", "-c", "ulimit -n") == "4\n"


def test_without_rlimits_the_callers_are_inherited(rt: Runtime) -> None:
    rt.running()
    assert init_file(rt, "limits") == Path("/proc/self/limits").read_bytes()


def test_a_limit_that_may_not_be_raised_is_an_error_that_names_it(rt: Runtime) -> None:

    def low() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))

    rlimits = [{"type": "RLIMIT_NOFILE", "soft": 2000, "hard": 2000}]
    result = rt.create("c", rt.bundle(process={"rlimits": rlimits}), preexec_fn=low)
    if "CAP_SYS_RESOURCE" in own_capabilities():
        assert result.code == 0
        return
    assert result.code == 1
    assert "/process/rlimits/0" in result.line
    assert "operation not permitted" in result.line
    assert rt.leaks() == []


def test_no_new_privileges(rt: Runtime) -> None:
    rt.running(process={"noNewPrivileges": False})
    assert status_of(init_file(rt, "status").decode())["NoNewPrivs"] == "0"
    assert exec_status(rt)["NoNewPrivs"] == "0"
    assert exec_status(rt, "c", "--no-new-privs")["NoNewPrivs"] == "1"


@pytest.mark.parametrize("value", [0, 500, 1000])
def test_oom_score_adj(rt: Runtime, value: int) -> None:
    rt.running(process={"oomScoreAdj": value})
    assert init_file(rt, "oom_score_adj") == f"{value}\n".encode()
    assert rt.output("c", "cat", "/proc/self/oom_score_adj") == f"{value}\n"


def test_oom_score_adj_zero_is_a_value(rt: Runtime) -> None:
    """Not the same as unset: the caller's own does not shine through."""

    def odd() -> None:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("123")

    assert rt.create("c", rt.bundle(process={"oomScoreAdj": 0}), preexec_fn=odd).code == 0
    assert init_file(rt, "oom_score_adj") == b"0\n"


def test_oom_score_adj_unset_is_not_changed(rt: Runtime) -> None:
    """config.md: MUST NOT change."""

    def odd() -> None:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("123")

    assert rt.create("c", rt.bundle(), preexec_fn=odd).code == 0
    assert init_file(rt, "oom_score_adj") == b"123\n"


def test_ex_25_signals_are_at_their_defaults(rt: Runtime) -> None:
    """Python ignores SIGPIPE, and execve(2) keeps what is ignored."""
    rt.running()
    for status in (status_of(init_file(rt, "status").decode()), exec_status(rt)):
        assert {status[name] for name in ("SigBlk", "SigIgn")} == {f"{0:016x}"}
