"""Add up the JUnit files of scripts/test: a table, the reasons for skips, the closing line."""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ElementTree  # our own files, written a moment ago
from collections import Counter
from pathlib import Path


def main() -> int:
    """Print the summary; 1 if anything failed or nothing ran."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--failed-tiers", nargs="*", default=[])
    parser.add_argument("--skipped-tiers", nargs="*", default=[])
    args = parser.parse_args()
    total: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    failures: list[str] = []
    print(f"{'tier':<14}{'passed':>8}{'failed':>8}{'skipped':>8}{'seconds':>9}")
    for path in sorted(args.results.glob("*.xml")):
        counts: Counter[str] = Counter()
        seconds = 0.0
        for suite in ElementTree.parse(path).iter("testsuite"):  # noqa: S314
            seconds += float(suite.get("time") or 0)
            for case in suite.iter("testcase"):
                skipped = case.find("skipped")
                if case.find("failure") is not None or case.find("error") is not None:
                    counts["failed"] += 1
                    failures.append(f"{path.stem}: {case.get('classname')}::{case.get('name')}")
                elif skipped is not None:
                    counts["skipped"] += 1
                    reasons[f"{path.stem}: {skipped.get('message')}"] += 1
                else:
                    counts["passed"] += 1
        total += counts
        row = "".join(f"{counts[key]:>8}" for key in ("passed", "failed", "skipped"))
        print(f"{path.stem:<14}{row}{seconds:>9.1f}")
    for reason, count in sorted(reasons.items()):
        print(f"skipped {count} in {reason}")
    for tier in args.skipped_tiers:
        print(f"skipped tier {tier}")
    for failure in failures:
        print(f"FAILED {failure}")
    # a tier that failed without a failed test: it crashed, or held no test at all
    explained = {failure.partition(":")[0] for failure in failures}
    broken = [tier for tier in args.failed_tiers if tier and tier.split()[0] not in explained]
    for tier in broken:
        print(f"FAILED tier {tier}")
    failed = total["failed"] or len(broken)
    print(f"{total['passed']} passed, {failed} failed, {total['skipped']} skipped")
    return 1 if failed or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
