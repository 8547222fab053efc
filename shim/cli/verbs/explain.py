"""`shim explain`."""

from __future__ import annotations

from shim.cli.report import out
from shim.view.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print what create would do and how a stop would go; execute nothing."""
    from shim.bundle.load import load
    from shim.engine.explain import explain

    for line in explain(load(args.bundle, args.lifecycle)):
        out(escape(line) + "\n")
    return 0
