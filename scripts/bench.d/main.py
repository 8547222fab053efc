"""scripts/bench inside its private namespaces: measure, judge, write."""

from __future__ import annotations

import argparse
import json
import sys
import sysconfig
import tempfile
from pathlib import Path

import report
from rows import Hooks, Row, cold_rows, measure, verb_rows
from runtimes import Runtime, adopt_orphans, make_bundle

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
SECTIONS = ("hook", "cold", "verbs")


def arguments() -> argparse.Namespace:
    """The command line that scripts/bench passes on, and what it adds."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--quick", action="store_true", help="20 rounds, write no documents")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--shim", required=True)
    parser.add_argument("--driver", required=True, help="interpreter of the engine's driver")
    parser.add_argument("--python", required=True)
    parser.add_argument("--floor", required=True)
    parser.add_argument("--rest", type=Path, help="what rest.sh measured, as JSON")
    return parser.parse_args()


def main() -> int:
    """0 when every target that was judged is met, 3 when one is missed."""
    args = arguments()
    adopt_orphans()
    sections = args.only or SECTIONS
    rounds = args.rounds or (20 if args.quick else 200)
    results: report.Results = {}
    # state and bundles on a tmpfs: no disk in the figures of anybody
    with tempfile.TemporaryDirectory(prefix="shim-bench-", dir="/dev/shm") as scratch:
        work = Path(scratch)
        shim = Runtime("shim", args.shim, work / "shim-root")
        runc = Runtime("runc", "/usr/sbin/runc", work / "runc-root")
        crun = Runtime("crun", "/usr/bin/crun", work / "crun-root")
        bundle = make_bundle(work / "live", ["/bin/sleep", "infinity"])
        started: list[Runtime] = []
        hooks: Hooks | None = None
        try:
            lifecycle = work / "lifecycle.json"
            lifecycle.write_text('{"lifecycle": {"preStop": {"exec": {"command": ["/bin/true"]}}}}')
            for runtime in (shim, runc, crun):
                flags = ("--lifecycle", str(lifecycle)) if runtime is shim else ()
                runtime.call("create", *flags, "--bundle", str(bundle), runtime.live)
                started.append(runtime)
                runtime.call("start", runtime.live)
            table: dict[str, list[Row]] = {}
            if "hook" in sections:
                libraries = sysconfig.get_path("purelib")
                driver = [args.driver, "-I", "-S", str(HERE / "driver.py"), libraries]
                hooks = Hooks(shim, [crun, runc], driver, args.floor)
                hooks.measure(rounds)
                results["hook"] = {row.key: row.summary() for row in hooks.rows()}
            if "cold" in sections:
                table["cold"] = cold_rows(work, [shim, runc, crun])
            if "verbs" in sections:
                table["verbs"] = verb_rows(work, shim, args.python)
            for section, section_rows in table.items():
                measure(section_rows, rounds, section)
                results[section] = {row.key: row.summary() for row in section_rows}
        finally:
            if hooks:
                hooks.close()
            for runtime in started:
                runtime.end(runtime.live)
                runtime.call("delete", runtime.live)
    if args.rest:
        results["rest"] = {"monitor": json.loads(args.rest.read_text())}
    return finish(results, write=not args.quick and not args.only)


def finish(results: report.Results, *, write: bool) -> int:
    """Print, and keep a whole run in docs/."""
    where = report.machine()
    print(report.text(results))
    if write:
        (DOCS / "benchmarks.md").write_text(report.markdown(results, where))
        document = {"machine": where, "results": results}
        (DOCS / "benchmarks.json").write_text(json.dumps(document, indent=2) + "\n")
        print(f"wrote {DOCS}/benchmarks.md and .json")
    return 0 if all(met for *_, met in report.verdicts(results)) else 3


if __name__ == "__main__":
    sys.exit(main())
