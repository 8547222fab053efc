"""`shim describe`."""

from __future__ import annotations

from time import time_ns

from shim.cli.report import out
from shim.cli.verbs.hooks import read
from shim.model.container import Container
from shim.model.event import events
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print all about one container."""
    from shim.view.describe import describe

    container = Container.load(Store(args.root), args.id)
    facts = {
        "oci": container.oci_state(),
        "state": container.state,
        "phase": container.phase(),
        "deliveries": read(container.dir),
        "events": events(container.dir.journal()),
    }
    out(describe(facts, time_ns() / 1e9))
    return 0
