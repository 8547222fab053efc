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
            _take(row, keep=round_number > 0)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r  {label}: {round_number} of {rounds}")
    sys.stderr.write(f"\r  {label}: {rounds} rounds of {len(rows)} rows\n")


class Hooks:
    """(a) One exec hook of /bin/true, however it is asked for.

    The two residents take turns, PAIRS times in a row; then every command has its turn. The first
    pair after the commands finds its caches emptied by them and is a row of its own: "after other
    work".
    """

    PAIRS = 10

    def __init__(self, shim: Runtime, others: list[Runtime], driver: list[str], floor: str) -> None:
        init = shim.init(shim.live)
        self.monitor = Resident([*driver, shim.prefix[-1], shim.live])
        self.bare = Resident([floor, str(init), cgroup_of(init), TRUE])
        hook, bare = self.monitor.sample, self.bare.sample
        self.steady = [
            Row("hook", "exec hook, resident monitor", hook),
            Row("floor", "bare C floor", bare),
        ]
        self.cold = [
            Row("hook-cold", "exec hook, after other work", hook),
            Row("floor-cold", "bare C floor, after other work", bare),
        ]
        self.whole = Row("delivery", "exec hook, until written down", hook)
        self.commands = []
        for runtime in others:
            sample = partial(timed, runtime.argv("exec", runtime.live, TRUE))
            self.commands.append(Row(f"{runtime.name}-exec", f"{runtime.name} exec", sample))

    def rows(self) -> list[Row]:
        """In the order of the table."""
        return [self.steady[0], self.whole, self.steady[1], *self.cold, *self.commands]

    def measure(self, rounds: int) -> None:
        """`rounds` samples of each command and of the cold pairs, PAIRS times as many others."""
        for round_number in range(rounds + 1):
            for row in random.sample(self.commands, len(self.commands)):
                _take(row, keep=round_number > 0)
            turn = random.sample((0, 1), 2)
            for pair in range(self.PAIRS + 1):
                for which in turn:
                    row = (self.steady if pair else self.cold)[which]
                    _take(row, keep=round_number > 0)
            if round_number:
                self.whole.samples += self.monitor.extra[1:]
            self.monitor.extra.clear()
        sys.stderr.write(f"  hook: {rounds} rounds of {self.PAIRS} pairs and every command\n")

    def close(self) -> None:
        """End the residents."""
        self.monitor.close()
        self.bare.close()


def _take(row: Row, *, keep: bool) -> None:
    value = row.sample()
    if keep:
        row.samples.append(value)


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
