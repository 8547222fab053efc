"""What a delivery cost and why it ended, from counters in plain directories in place of cgroups."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.test_cgroup_setup import FakeMount

from shim.bundle.lifecycle import Handler
from shim.bundle.limits import Limits
from shim.engine import usage as cost
from shim.engine.facts import exit_record
from shim.engine.usage import Counts, Evidence
from shim.errors import KernelError
from shim.kernel.cgroup import Cgroup
from shim.model import plan

NONE = Counts({}, {})
LEAF_FILES = {
    "cpu.stat": "usage_usec 1500\nuser_usec 1\nthrottled_usec 70\n",
    "memory.peak": "4096\n",
    "memory.events": "low 0\noom 0\noom_kill 0\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:16 rbytes=5 wbytes=7 dbytes=9\n",
    "pids.peak": "3\n",
}


@pytest.fixture
def fake(tmp_path: Path) -> FakeMount:
    return FakeMount(tmp_path)


def group(fake: FakeMount, rel: str, controllers: str, files: dict[str, str]) -> Cgroup:
    made = fake.make(rel, controllers, *files)
    for name, text in files.items():
        (fake.top / rel.strip("/") / name).write_text(text)
    return made


class FakeMonitor:
    def __init__(self, cgroup: Cgroup, state: Any = None, inner: bool = False) -> None:
        self.cgroup, self.inner, self.pid, self.shot = cgroup, inner, 1, False
        self.saved: dict[str, Any] = {}
        self.facts = SimpleNamespace(save=self.saved.update)
        self.directory = SimpleNamespace(read_state=lambda: state or {})


def delivery(monitor: FakeMonitor, leaf: Cgroup | None, **facts: Any) -> Any:
    known = {
        "monitor": monitor, "leaf": leaf, "rusage": None, "pid": 7, "exit_code": 0, "signal": None,
        "outcome": "succeeded", "error": None, "why": None, "before": Counts.of(monitor.cgroup),
        "handler": Handler("exec", ["x"]),
    }  # fmt: skip
    return SimpleNamespace(**{**known, **facts})


RUSAGE = SimpleNamespace(ru_maxrss=2, ru_inblock=4, ru_oublock=0)


def test_a_leaf_with_controllers_answers_for_its_hook(fake: FakeMount) -> None:
    monitor = FakeMonitor(group(fake, "/c", "cpu io memory pids", {}))
    leaf = group(fake, "/c/hook", "cpu io memory pids", LEAF_FILES)
    assert cost.usage(delivery(monitor, leaf, rusage=RUSAGE)) == {
        "cpuUsec": 1500, "maxRssBytes": 2048, "memoryPeakBytes": 4096, "ioReadBytes": 15,
        "ioWriteBytes": 27, "pidsPeak": 3, "oomKills": 0, "throttledUsec": 70,
    }  # fmt: skip


def test_a_leaf_without_controllers_leaves_unknown_what_is_unknown(fake: FakeMount) -> None:
    """Also when the container has the files: they count everything in it."""
    events = {"memory.events": "oom 0\noom_kill 2\n", **LEAF_FILES}
    monitor = FakeMonitor(group(fake, "/c", "cpu io memory pids", events))
    leaf = group(fake, "/c/hook", "", {"cpu.stat": "usage_usec 9\n"})
    assert cost.usage(delivery(monitor, leaf, rusage=RUSAGE)) == {
        "cpuUsec": 9, "maxRssBytes": 2048, "memoryPeakBytes": None, "ioReadBytes": 2048,
        "ioWriteBytes": None, "pidsPeak": None, "oomKills": 0, "throttledUsec": None,
    }  # fmt: skip


@pytest.mark.parametrize("before", [None, NONE])
def test_nothing_known_is_null_and_never_0(fake: FakeMount, before: Counts | None) -> None:
    monitor = FakeMonitor(group(fake, "/c", "", {}))
    for leaf in (None, group(fake, f"/c/{before}", "", {})):
        found = cost.usage(delivery(monitor, leaf, before=before))
        assert found == dict.fromkeys(cost.FIELDS)
    assert monitor.saved == {}


def test_no_io_of_a_process_is_unknown(fake: FakeMount) -> None:
    spent = SimpleNamespace(ru_maxrss=1, ru_inblock=0, ru_oublock=3)
    monitor = FakeMonitor(group(fake, "/c", "", {}))
    leaf = group(fake, "/c/hook", "", {})
    found = cost.usage(delivery(monitor, leaf, rusage=spent))
    assert (found["ioReadBytes"], found["ioWriteBytes"]) == (None, 1536)


def test_no_io_at_all_is_0_when_the_leaf_counts_it(fake: FakeMount) -> None:
    with group(fake, "/c", "io", {"io.stat": ""}) as leaf:
        assert cost.io_bytes(leaf) == (0, 0)
    with group(fake, "/d", "io", {}) as leaf:
        assert cost.io_bytes(leaf) == (None, None)


@pytest.mark.parametrize(
    ("local", "own", "above", "expected"),
    [
        ("throttled_usec 5\n", "throttled_usec 1\n", "", 5),
        ("", "throttled_usec 1\n", "nr_throttled 3\n", 1),
        ("", "throttled_usec 0\n", "nr_throttled 0\n", 0),
        ("", "throttled_usec 0\n", "nr_throttled 3\n", None),
        ("", "usage_usec 1\n", "", None),
    ],
)
def test_throttled(fake: FakeMount, local: str, own: str, above: str, expected: int | None) -> None:
    container = group(fake, "/c", "cpu", {"cpu.stat": above})
    leaf = group(fake, "/c/hook", "cpu", {"cpu.stat": own, "cpu.stat.local": local})
    assert cost.throttled(leaf, container, cost.keyed(leaf, "cpu.stat")) == expected


def memory(oom: int = 0, kill: int = 0, group: int = 0) -> Counts:
    return Counts({"oom": oom, "oom_kill": kill, "oom_group_kill": group}, {})


def pids(count: int) -> Counts:
    return Counts({}, {"max": count})


HOOKS, ITS, OTHERS = (
    f"killed: out of memory ({whose})"
    for whose in ("hook's limit", "container's limit", "not the container's limit")
)


@pytest.mark.parametrize(
    ("outcome", "killed", "leaf", "before", "now", "why", "kills"),
    [
        # the leaf counts for itself
        ("failed", True, memory(1, 2), memory(5, 5), memory(6, 7), HOOKS, 2),
        ("failed", True, memory(0, 1), memory(0, 0), memory(1, 1), ITS, 1),
        ("failed", True, memory(0, 1), memory(0, 0), memory(0, 1), OTHERS, 1),
        ("failed", True, memory(0, 0), memory(0, 0), memory(3, 3), None, 0),
        ("timedOut", False, memory(1, 1), memory(0, 0), memory(1, 1), HOOKS, 1),
        ("interrupted", True, memory(0, 1), memory(0, 0), memory(1, 2, 1), ITS, 1),
        ("succeeded", False, memory(1, 1), memory(0, 0), memory(1, 1), None, 1),
        # only the container counts
        ("failed", True, NONE, memory(1, 1), memory(2, 2), ITS, 1),
        ("failed", True, NONE, memory(1, 1), memory(1, 2), OTHERS, 1),
        ("failed", True, NONE, memory(1, 1), memory(1, 1), None, 0),
        ("failed", True, NONE, memory(0, 0), memory(1, 2), ITS, None),
        ("failed", False, NONE, memory(0, 0), memory(1, 1), None, None),
        ("timedOut", False, NONE, memory(0, 0), memory(1, 1), None, None),
        ("interrupted", True, NONE, memory(0, 0), memory(1, 1), None, None),
        ("interrupted", False, NONE, memory(0, 0), memory(1, 2, 1), ITS, None),
        ("succeeded", False, NONE, memory(0, 0), memory(1, 1), None, None),
        ("failed", True, NONE, NONE, NONE, None, None),
        # pids
        ("failed", False, NONE, pids(4), pids(5), "pids limit (container's limit)", None),
        ("timedOut", False, NONE, pids(4), pids(5), "pids limit (container's limit)", None),
        ("failed", False, NONE, pids(4), pids(4), None, None),
        ("failed", False, pids(0), pids(4), pids(4), None, None),
        ("failed", False, pids(1), pids(4), pids(4), "pids limit (container's limit)", None),
        ("succeeded", False, NONE, pids(4), pids(5), None, None),
        ("interrupted", False, NONE, pids(4), pids(5), None, None),
    ],
)
def test_cg_12_the_reason_and_the_number(
    outcome: str, killed: bool, leaf: Counts, before: Counts, now: Counts, why: str | None,
    kills: int | None,
) -> None:  # fmt: skip
    found = Evidence(outcome, killed, leaf, before, now)
    assert found.why() == why
    if leaf.memory or before.memory:
        assert found.oom_kills() == kills


def test_cg_15_the_hooks_own_pids_limit() -> None:
    found = Evidence("failed", False, pids(1), pids(0), pids(1), own_pids=True)
    assert found.why() == "pids limit (hook's limit)"


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"outcome": "failed", "signal": 9, "error": "ended by signal 9"}, ITS),
        ({"outcome": "failed", "exit_code": 137}, ITS),
        ({"outcome": "failed", "exit_code": None, "pid": 0, "error": "possibly"}, ITS),
        ({"outcome": "failed", "exit_code": 1}, None),
        ({"outcome": "interrupted", "signal": 9, "error": "the container exited"}, "the container"),
    ],
)
def test_cg_13_the_error_of_a_delivery(
    fake: FakeMount, facts: dict[str, Any], error: str | None
) -> None:
    container = group(fake, "/c", "", {"memory.events": "oom 1\noom_kill 1\n"})
    leaf = group(fake, "/c/hook", "", {})
    made = delivery(FakeMonitor(container), leaf, before=memory(0, 0), **facts)
    cost.explain(made)
    assert (made.error or "").startswith(error or "")
    assert (made.error is None) == (error is None)


def test_the_pids_limit_is_added_to_what_is_known(fake: FakeMount) -> None:
    container = group(fake, "/c", "", {"pids.events": "max 1\n"})
    for error, expected in (
        ("timed out", "timed out; pids limit (container's limit)"),
        (None, "pids limit (container's limit)"),
        ("clone3: again (pids limit)", "clone3: again (pids limit)"),
    ):
        made = delivery(FakeMonitor(container), None, outcome="timedOut", error=error)
        made.before = pids(0)
        cost.explain(made)
        assert made.error == expected


def test_cg_15_no_fork_into_the_pid_namespace_is_called_by_its_name() -> None:
    ops = [plan.Op("FORK", "enter the pid namespace")]
    error = plan.failure(ops, 0, plan.EAGAIN, plan.D_FORK)
    assert isinstance(error, KernelError)
    assert error.errno == plan.EAGAIN
    assert "pids limit" in str(error)


@pytest.mark.parametrize(
    ("code", "kills", "seen", "shot", "expected"),
    [
        (-9, 1, 0, False, True),
        (-9, 3, 2, False, True),
        (-9, 2, 2, False, False),
        (-9, 0, 0, False, False),
        (-9, 1, 0, True, False),
        (137, 1, 0, False, False),
        (-15, 1, 0, False, False),
        (None, 1, 0, False, False),
    ],
)
@pytest.mark.parametrize("inner", [False, True])
def test_cg_12_when_the_container_itself_ran_out_of_memory(
    fake: FakeMount, inner: bool, code: int | None, kills: int, seen: int, shot: bool,
    expected: bool,
) -> None:  # fmt: skip
    counts = {"memory.events": f"oom 9\noom_kill {kills}\n"}
    container = group(fake, "/c", "", {"memory.events": "oom_kill 9\n"} if inner else counts)
    if inner:
        group(fake, "/c/main", "", counts)
    monitor: Any = FakeMonitor(container, {"oomSeen": seen}, inner)
    monitor.shot = shot
    assert cost.main_ran_out(monitor, code) is expected


def test_a_kill_that_the_process_outlived_is_not_its_own(
    fake: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = group(fake, "/c", "", {"memory.events": "oom 1\noom_kill 1\n"})
    leaf = group(fake, "/c/hook", "", {})
    for exiting, saved in ((False, {"oomSeen": 1}), (True, {})):
        monkeypatch.setattr(cost.proc, "is_exiting", lambda pid, now=exiting: now)
        monitor = FakeMonitor(container)
        cost.usage(delivery(monitor, leaf, before=memory(0, 0), outcome="failed"))
        assert monitor.saved == saved


def test_a_kill_that_may_be_the_processs_own_is_kept_for_it(
    fake: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """memory.oom.group ends it too, a moment later; and in the inner layout it has a count of its
    own."""
    monkeypatch.setattr(cost.proc, "is_exiting", lambda pid: False)
    events = {"memory.events": "oom 1\noom_kill 2\noom_group_kill 1\n"}
    container = group(fake, "/c", "", events)
    leaf = group(fake, "/c/hook", "", {})
    for inner, groups in ((False, 0), (True, 1)):
        monitor = FakeMonitor(container, inner=inner)
        cost.usage(delivery(monitor, leaf, before=memory(0, 0, groups), outcome="failed"))
        assert monitor.saved == {}


@pytest.mark.parametrize(("limits", "whose"), [({"pids": 5}, "hook"), ({"cpu": 9}, "container")])
def test_whose_pids_limit_it_was(fake: FakeMount, limits: dict[str, int], whose: str) -> None:
    monitor = FakeMonitor(group(fake, "/c", "", {"pids.events": "max 1\n"}))
    leaf = group(fake, "/c/hook", "pids", {"pids.events": "max 1\n"})
    handler = Handler("exec", ["x"], resources=Limits(**limits))
    made = delivery(monitor, leaf, outcome="failed", handler=handler, before=pids(1))
    cost.explain(made)
    assert made.error == f"pids limit ({whose}'s limit)"


def test_the_exit_record() -> None:
    assert exit_record("web", -9, 0, True)[0]["reason"] == "OOMKilled"
    assert exit_record("web", -9, 0)[0]["reason"] == "Error"
