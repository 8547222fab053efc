"""scripts/bench inside its private namespaces: measure, judge, write."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import report
from rows import Row, cold_rows, hook_rows, measure, verb_rows
from runtimes import Resident, Runtime, adopt_orphans, make_bundle

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
        residents: list[Resident] = []
        try:
            for runtime in (shim, runc, crun):
                runtime.call("create", "--bundle", str(bundle), runtime.live)
                started.append(runtime)
                runtime.call("start", runtime.live)
            table: dict[str, list[Row]] = {}
            if "hook" in sections:
                driver = [args.driver, "-I", "-S", str(HERE / "driver.py")]
                table["hook"], residents = hook_rows(shim, [crun, runc], driver, args.floor)
            if "cold" in sections:
                table["cold"] = cold_rows(work, [shim, runc, crun])
            if "verbs" in sections:
                table["verbs"] = verb_rows(work, shim, args.python)
            for section, section_rows in table.items():
                measure(section_rows, rounds, section)
                results[section] = {row.key: row.summary() for row in section_rows}
        finally:
            for resident in residents:
                resident.close()
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
