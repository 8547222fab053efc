"""`shim stats`."""

from __future__ import annotations

from shim.cli.report import out
from shim.errors import ShimError
from shim.model.container import Container
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print what containers use, hooks included; an error of one does not hide the others."""
    from shim.cli.measure import record

    store, status, found = Store(args.root), 0, []
    for id in args.ids:
        try:
            found.append(record(Container.load(store, id)))
        except ShimError as error:
            status = args.report.error("stats", id, error)
    if args.format == "json":
        from shim.view.json import document

        out(document(found))
    elif found:
        from shim.view.stats import as_table

        out(as_table(found))
    return status
