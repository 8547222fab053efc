"""`shim state`."""

from __future__ import annotations

from shim.cli.adopt import load
from shim.cli.report import out
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print the OCI state as JSON."""
    from shim.view.json import document

    out(document(load(Store(args.root), args.id).oci_state()))
    return 0
