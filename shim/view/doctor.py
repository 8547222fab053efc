"""`shim doctor` as a table: what is wrong says what to do about it on the same line."""

from __future__ import annotations

from shim.view.table import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def as_table(checks: Iterable[dict[str, Any]], ok: bool) -> str:
    """Every check, and the verdict as the last line."""
    rows = [(check["status"], check["name"], check["value"], check["remedy"]) for check in checks]
    failed = sum(row[0] == "fail" for row in rows)
    last = "shim can run here" if ok else f"shim cannot run here: {failed} check(s) failed"
    return table(("STATUS", "CHECK", "VALUE", "REMEDY"), rows) + f"\n{last}\n"
