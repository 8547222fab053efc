"""`shim features`."""

from __future__ import annotations

from shim.cli.report import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print the OCI features document (runtime-spec, features.md)."""
    from shim.engine.features import features
    from shim.view.json import document

    out(document(features()))
    return 0
