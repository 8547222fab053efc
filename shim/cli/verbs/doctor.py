"""`shim doctor`."""

from __future__ import annotations

from shim.cli.report import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print what this host offers and lacks; 1 when shim cannot run here."""
    from shim.engine.doctor import checks, runs

    found = checks()
    ok, shown = runs(found), [check.to_json() for check in found]
    if args.format == "json":
        from shim.view.json import document

        out(document({"checks": shown, "ok": ok}))
    else:
        from shim.view.doctor import as_table

        out(as_table(shown, ok))
    return 0 if ok else 1
