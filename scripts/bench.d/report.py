"""Turn the measurements of scripts/bench into docs/benchmarks.md and docs/benchmarks.json."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

Results = dict[str, dict[str, dict[str, object]]]

METHOD = """\
One run of `sudo ./scripts/bench` on one machine. Every row of a section is measured once a round,
in a random order each round, so that whatever warms or disturbs the machine does so to all of
them alike; the first round only warms up. Everything runs in a private mount namespace with a
cgroup2 of its own on /sys/fs/cgroup, all state directories are on a tmpfs, and all runtimes use
bundles of the same contents: the config.json of `runc spec`, without a terminal, and Debian's own
dynamically linked /bin/true.

- *exec hook*: from the request in the resident monitor's own engine code to the reaped exit. Each
  delivery makes its leaf cgroup, and the record of its intent is on disk (here: tmpfs) before it
  starts.
- The hook and the floor take turns, ten times in a row; then every command has its turn. What the
  first pair after the commands costs, which finds its caches emptied, is given as "after other
  work"; the targets are judged on the other pairs.
- *bare C floor* (scripts/bench.d/floor.c): a resident static C program that makes a leaf cgroup,
  `clone3(CLONE_INTO_CGROUP)`, joins the same namespaces of the same container, forks into its pid
  namespace, execs the same /bin/true and reaps it. It drops no credentials, checks nothing, keeps
  nothing.
- *commands*: `posix_spawn` to reaped exit of the whole command, stdin and stdout on /dev/null.
- *at rest*: a container started with `shim run -d`, with a PostStart hook that has run. Two
  seconds after the last event the monitor replaces its interpreter by a few kilobytes of C that
  wait on the same descriptors (shim/engine/park.py), and its spawner ends; from then on it is at
  rest. "Awake" is before that. PSS is the sum over the monitor and its spawner from smaps_rollup;
  memory shared with other processes (libc, other Pythons) counts by its share, so RSS is given
  too. Wake-ups are the context switches of both, voluntary or not, over the time given. What
  waking costs is not in the *exec hook* rows: those are a monitor that is awake.
"""


def machine() -> dict[str, str]:
    """What was measured on."""
    return {
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "cpu": _cpu(),
        "cpus": str(os.cpu_count()),
        "python": platform.python_version(),
        "runc": _first_line(["runc", "--version"]),
        "crun": _first_line(["crun", "--version"]),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "controllers": Path("/sys/fs/cgroup/cgroup.controllers").read_text().strip() or "none",
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(argv: list[str]) -> str:
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return output.splitlines()[0].split()[-1]


def _p50(results: Results, section: str, key: str) -> float:
    value = results[section][key]["p50"]
    if not isinstance(value, float | int):
        raise TypeError(f"{section} {key}: no median")
    return float(value)


def verdicts(results: Results) -> list[tuple[str, str, str, bool]]:
    """(what, measured, target, met) for each target of the issue that this run can judge."""
    found = []

    def ratio(section: str, key: str, other: str, limit: float, target: str) -> None:
        if section in results and key in results[section]:
            value = _p50(results, section, key) / _p50(results, section, other)
            title = f"{results[section][key]['title']} / {results[section][other]['title']}"
            found.append((title, f"{value:.3f}", f"at most {target}", value <= limit))

    ratio("hook", "hook", "floor", 1.4, "1.4")
    ratio("hook", "hook", "crun-exec", 1 / 4, "1/4 = 0.250")
    ratio("hook", "hook", "runc-exec", 1 / 12, "1/12 = 0.083")
    ratio("cold", "shim-exec", "runc-exec", 1.1, "1.1")
    ratio("cold", "shim-run", "runc-run", 1.1, "1.1")
    for verb in ("state", "kill", "delete"):
        if "verbs" in results:
            value = _p50(results, "verbs", verb) - _p50(results, "verbs", "python")
            found.append(
                (f"shim {verb} - bare python3", f"{value:.1f} ms", "at most 25 ms", value <= 25)
            )
    if "rest" in results:
        rest = results["rest"]["monitor"]
        pss = float(str(rest["pss_kib"])) * 1024 / 1e6
        wakeups = float(str(rest["switches"])) / float(str(rest["seconds"]))
        found.append(("monitor and spawner, PSS", f"{pss:.2f} MB", "at most 6 MB", pss <= 6))
        found.append(("wake-ups at rest", f"{wakeups:.2f} a second", "0", wakeups == 0))
    return found


def markdown(results: Results, where: dict[str, str]) -> str:
    """The whole page."""
    lines = ["# Benchmarks", "", "Written by `sudo ./scripts/bench`; do not edit.", ""]
    lines += ["## Targets", "", "| what | measured | target | verdict |", "|---|---:|---:|---|"]
    for what, measured, target, met in verdicts(results):
        lines.append(f"| {what} | {measured} | {target} | {'met' if met else '**missed**'} |")
    lines += ["", "## Measured", "", "Milliseconds.", ""]
    titles = {"hook": "One exec hook", "cold": "Cold commands", "verbs": "Small verbs"}
    for section, title in titles.items():
        if section not in results:
            continue
        lines += [f"### {title}", "", "| | median | p10 | p90 | samples |"]
        lines.append("|---|---:|---:|---:|---:|")
        for row in results[section].values():
            cells = [f"{row[key]:.2f}" for key in ("p50", "p10", "p90")]
            lines.append(f"| {row['title']} | {' | '.join(cells)} | {row['n']} |")
        lines.append("")
    if "rest" in results:
        rest = results["rest"]["monitor"]
        lines += ["### The monitor", "", "| | processes | PSS, KiB | RSS, KiB |"]
        lines.append("|---|---:|---:|---:|")
        for name, key in (("awake, just after a hook", "awake_"), ("at rest", "")):
            cells = [str(rest[f"{key}{what}"]) for what in ("processes", "pss_kib", "rss_kib")]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        wake = float(str(rest["wake_usec"])) / 1000
        lines += ["", f"Context switches in {rest['seconds']} s at rest: {rest['switches']}."]
        lines += [
            f"From the command `shim stop` to the start of PreStop, monitor at rest: {wake:.0f} ms"
        ]
        lines += ["(one sample; the start-up of the command is the larger part).", ""]
    lines += ["## Machine", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in where.items()]
    return "\n".join([*lines, "", "## Method", "", METHOD])


def text(results: Results) -> str:
    """For the terminal."""
    rows = [
        (str(row["title"]), f"{row['p50']:.2f} ms")
        for section in ("hook", "cold", "verbs")
        for row in results.get(section, {}).values()
    ]
    lines = [f"  {title:<32}{value:>12}" for title, value in rows]
    lines.append("")
    for what, measured, target, met in verdicts(results):
        lines.append(f"  {'met   ' if met else 'MISSED'} {what:<48}{measured:>16}   {target}")
    return "\n".join(lines)
