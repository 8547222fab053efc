"""`resources` beside a handler: what it may say, what it becomes, and where it may come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.bundle_support import spec_with
from unit.test_cgroup_setup import FakeMount

from shim.bundle import sources
from shim.bundle.fields import Value
from shim.bundle.lifecycle import Handler, Lifecycle, read_document
from shim.bundle.limits import Limits
from shim.engine import layout
from shim.errors import InputError, KernelError, ShimError
from shim.kernel.cgroup import Cgroup
from shim.view.describe import handler as described

EXEC = {"exec": {"command": ["x"]}}
WHERE = "/lifecycle/preStop/resources"


def hook(resources: object, kind: dict[str, Any] = EXEC) -> Lifecycle:
    document = {"lifecycle": {"preStop": {**kind, "resources": resources}}}
    return read_document(Value(document, "", "l.json"), None, "l.json")


def limits(resources: object) -> Limits:
    found = hook(resources).pre_stop
    assert found is not None
    assert found.resources is not None
    return found.resources


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4096, 4096), ("4096", 4096), ("64Mi", 64 << 20), ("1Ki", 1024), ("2Gi", 2 << 30),
        ("1Ti", 1 << 40), ("5k", 5000), ("5M", 5_000_000), ("1G", 10**9), ("1T", 10**12),
        (2**63 - 1, 2**63 - 1),
    ],
)  # fmt: skip
def test_memory(value: object, expected: int) -> None:
    assert limits({"memory": value}) == Limits(memory=expected)


@pytest.mark.parametrize(
    "value",
    [
        0, -1, 1.5, True, "", "0", "Mi", "-1", "+1", " 1", "1_000", "1.5Gi", "64mi", "64MI", "64K",
        "64MiB", "6MMi", "1iM", "٣", "9" * 30, 2**63, "8Pi", "9223372036854775807Ki", [],
    ],
)  # fmt: skip
def test_memory_that_is_none(value: object) -> None:
    with pytest.raises(InputError) as caught:
        limits({"memory": value})
    assert caught.value.pointer == f"{WHERE}/memory"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("500m", 500), ("10m", 10), (1, 1000), (0.5, 500), ("0.5", 500), ("2", 2000), (2.001, 2001),
        ("1500m", 1500), (0.01, 10), (1000, 10**6),
    ],
)  # fmt: skip
def test_cpu(value: object, expected: int) -> None:
    assert limits({"cpu": value}) == Limits(cpu=expected)


@pytest.mark.parametrize(
    "value",
    [
        0, -1, True, "", "m", "9m", "-5m", "0.5m", "1.2.3", ".", "1e3", "0.0005", 0.0005, 0.01005,
        1001, float("nan"), float("inf"), "inf", "nan", "1 ", "٣", {},
    ],
)  # fmt: skip
def test_cpu_that_is_none(value: object) -> None:
    with pytest.raises(InputError) as caught:
        limits({"cpu": value})
    assert caught.value.pointer == f"{WHERE}/cpu"


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"pids": 1}, "/pids"), ({"pids": 0}, "/pids"), ({"pids": "5"}, "/pids"),
        ({"pids": 2**22 + 1}, "/pids"), ({"io": 1}, "/io"), ({"Memory": 1}, "/Memory"),
        ({"limits": {}}, "/limits"), ([], ""), ("64Mi", ""),
    ],
)  # fmt: skip
def test_fields_that_are_wrong(resources: object, pointer: str) -> None:
    with pytest.raises(InputError) as caught:
        hook(resources)
    assert caught.value.pointer == WHERE + pointer


def test_a_sleep_uses_nothing() -> None:
    with pytest.raises(InputError, match="only an exec handler") as caught:
        hook({"pids": 5}, {"sleep": {"seconds": 1}})
    assert caught.value.pointer == WHERE


def test_cv_29_an_image_cannot_set_limits(tmp_path: Path) -> None:
    """They change where the container's own process is put."""
    block = {"preStop": {**EXEC, "resources": {"pids": 5}}}
    notes = {"io.hookshim.lifecycle": json.dumps(block)}
    with pytest.raises(InputError, match="not taken from an annotation") as caught:
        sources.find(spec_with("/annotations", notes), str(tmp_path), None)
    assert caught.value.pointer == "/annotations/io.hookshim.lifecycle/preStop/resources"
    (tmp_path / "lifecycle.json").write_text(json.dumps({"lifecycle": block}))
    found = sources.find(spec_with("/annotations", {}), str(tmp_path), None)
    assert layout.wanted(found)


@pytest.mark.parametrize(
    "given", [{}, {"memory": "64Mi"}, {"pids": 9, "cpu": "1500m"}, {"memory": 7, "cpu": 2}]
)
def test_round_trip_through_state_json(given: dict[str, Any]) -> None:
    lifecycle = hook(given)
    stored = json.loads(json.dumps(lifecycle.to_json()))
    again = Lifecycle.from_json(stored)
    assert again.to_json() == stored
    assert again.pre_stop is not None
    assert again.pre_stop.resources == limits(given)


def test_describe_shows_them() -> None:
    document = Handler("exec", ["x"], resources=Limits(64 << 20, 9, 1500)).to_json()
    assert described(document) == "exec [x] cpu=1500m memory=67108864 pids=9"


def test_what_they_become() -> None:
    assert layout.settings(Limits(4096, 9, 1500)) == [
        ("memory.max", "4096", "memory"), ("memory.oom.group", "1", "memory"),
        ("pids.max", "9", "pids"), ("cpu.max", "150000 100000", "cpu"),
    ]  # fmt: skip
    assert layout.settings(Limits(cpu=10)) == [("cpu.max", "1000 100000", "cpu")]
    assert layout.settings(Limits()) == []


def test_the_leaf_is_bounded(tmp_path: Path) -> None:
    fake = FakeMount(tmp_path)
    with fake.make("/hook", "", "memory.max", "memory.oom.group", "pids.max", "cpu.max") as leaf:
        layout.limit(leaf, Limits(4096, 9, 500))
    found = [fake.text(f"hook/{name}") for name in ("memory.max", "memory.oom.group", "pids.max")]
    assert found == ["4096", "1", "9"]
    with fake.make("/bare", "") as leaf, pytest.raises(KernelError, match=r"pids\.max"):
        layout.limit(leaf, Limits(pids=9))


class Kernel(Cgroup):
    """subtree_control takes one write at a time, as cgroup2 does; `refuses` one controller."""

    __slots__ = ("refuses",)

    def write(self, file: str, value: str) -> None:
        if value.lstrip("+") == getattr(self, "refuses", ""):
            raise KernelError(f"write {value}", 16)
        super().write(file, f"{self.read(file)}{value.replace('+', ' ')}")


def container(fake: FakeMount, controllers: str) -> Kernel:
    with fake.make("/c", controllers) as made:
        return Kernel.open(fake.mount, made.path)  # type: ignore[return-value]


def test_the_inner_layout(tmp_path: Path) -> None:
    """Limits need their controllers, counting takes what there is."""
    fake = FakeMount(tmp_path)
    cgroup = container(fake, "cpuset pids io memory hugetlb")
    with layout.make_main(cgroup, fake.mount, hook({"pids": 9})) as main:
        assert main.path == "/c/main"
    assert fake.text("c/cgroup.subtree_control").split() == ["memory", "pids", "io"]
    assert layout.recorded(cgroup, hook({})) == {"path": "/c", "ino": cgroup.ino, "layout": "inner"}


@pytest.mark.parametrize("lifecycle", [None, Lifecycle(pre_stop=Handler("exec", ["x"]))])
def test_without_resources_all_is_as_it_was(tmp_path: Path, lifecycle: Lifecycle | None) -> None:
    fake = FakeMount(tmp_path)
    cgroup = container(fake, "pids memory")
    with layout.make_main(cgroup, fake.mount, lifecycle) as main:
        assert (main.path, main.ino) == (cgroup.path, cgroup.ino)
    assert fake.text("c/cgroup.subtree_control") == ""
    assert layout.recorded(cgroup, lifecycle) == {"path": "/c", "ino": cgroup.ino}


@pytest.mark.parametrize(
    ("resources", "offered", "refuses", "words"),
    [
        ({"cpu": 1}, "pids", "", "cpu: cpu controller is on cgroup v1 at /v1/cpu"),
        ({"memory": 1}, "pids", "", "memory: memory controller is not delegated: not in "),
        ({"pids": 5}, "pids", "pids", "pids: pids controller cannot be switched on in "),
    ],
)
def test_a_missing_controller_is_named_with_its_place(
    tmp_path: Path, resources: object, offered: str, refuses: str, words: str
) -> None:
    fake = FakeMount(tmp_path, {"cpu": "/v1/cpu"})
    cgroup = container(fake, offered)
    cgroup.refuses = refuses
    with pytest.raises(ShimError) as caught:
        layout.make_main(cgroup, fake.mount, hook(resources))
    assert str(caught.value).startswith(f"l.json: {WHERE}/{words}")
    assert not (tmp_path / "c/main").exists()


def test_where_an_exec_goes(tmp_path: Path) -> None:
    fake = FakeMount(tmp_path)
    fake.make("/c/main", "").close()
    for state, path in (({"cgroup": {"layout": "inner"}}, "/c/main"), ({"cgroup": {}}, "/c")):
        with layout.of_main(Cgroup.open(fake.mount, "/c"), state) as group:
            assert group.path == path
