"""What scripts/bench measures: the rows, and one round of all of them in random order."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from runtimes import Resident, Runtime, make_bundle, timed

Sample = Callable[[], float]
TRUE = "/bin/true"


class Row:
    """One thing that is measured; `samples` are milliseconds."""

    def __init__(self, key: str, title: str, sample: Sample) -> None:
        self.key, self.title, self.sample = key, title, sample
        self.samples: list[float] = []

    def summary(self) -> dict[str, object]:
        """Milliseconds: the median, and the tenth and ninetieth percentile."""
        tenths = statistics.quantiles(self.samples, n=10)
        return {
            "title": self.title,
            "n": len(self.samples),
            "p50": round(statistics.median(self.samples), 3),
            "p10": round(tenths[0], 3),
            "p90": round(tenths[-1], 3),
        }


def measure(rows: list[Row], rounds: int, label: str) -> None:
    """Every row once a round, in another order each time: what warms or disturbs the machine does
    so to all of them. The first round only warms up."""
    order = list(rows)
    for round_number in range(rounds + 1):
        random.shuffle(order)
        for row in order:
            value = row.sample()
            if round_number:
                row.samples.append(value)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r  {label}: {round_number} of {rounds}")
    sys.stderr.write(f"\r  {label}: {rounds} rounds of {len(rows)} rows\n")


def hook_rows(
    shim: Runtime, others: list[Runtime], driver: list[str], floor: str
) -> tuple[list[Row], list[Resident]]:
    """(a) One exec hook of /bin/true, however it is asked for."""
    init = shim.init(shim.live)
    cgroup = cgroup_of(init)
    resident = Resident([*driver, shim.prefix[-1], shim.live, TRUE])
    bare = Resident([floor, str(init), cgroup, TRUE])
    rows = [
        Row("hook", "exec hook, resident monitor", resident.sample),
        Row("floor", "bare C floor", bare.sample),
    ]
    for runtime in others:
        argv = runtime.argv("exec", runtime.live, TRUE)
        rows.append(Row(f"{runtime.name}-exec", f"{runtime.name} exec", partial(timed, argv)))
    return rows, [resident, bare]


def cgroup_of(pid: int) -> str:
    """The cgroup directory of a process, in the mount of this private namespace."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return "/sys/fs/cgroup" + line[3:]
    raise SystemExit(f"bench: process {pid} has no cgroup v2")


def cold_rows(work: Path, runtimes: list[Runtime]) -> list[Row]:
    """(b) `exec` and `run` as commands, from nothing to the reaped exit."""
    once = str(make_bundle(work / "once", [TRUE]))
    rows = []
    for runtime in runtimes:
        name = runtime.name
        run_flags = ("--rm",) if name == "shim" else ()  # the others delete when run ends
        execute = runtime.argv("exec", runtime.live, TRUE)
        run = runtime.argv("run", *run_flags, "--bundle", once, f"{name}-once")
        rows.append(Row(f"{name}-exec", f"{name} exec", partial(timed, execute)))
        rows.append(Row(f"{name}-run", f"{name} run", partial(timed, run)))
    return rows


def verb_rows(work: Path, shim: Runtime, python: str) -> list[Row]:
    """(c) The small verbs, beside the same interpreter doing nothing."""
    bundle = str(make_bundle(work / "short", ["/bin/sleep", "infinity"]))

    def delete() -> float:
        shim.call("create", "--bundle", bundle, "short")
        shim.end("short")
        return timed(shim.argv("delete", "short"))

    bare = [python, "-I", "-S", "-c", "pass"]
    return [
        Row("python", "python3 -I -S -c pass", partial(timed, bare)),
        Row("state", "shim state", partial(timed, shim.argv("state", shim.live))),
        Row("kill", "shim kill", partial(timed, shim.argv("kill", shim.live, "CONT"))),
        Row("delete", "shim delete", delete),
    ]
