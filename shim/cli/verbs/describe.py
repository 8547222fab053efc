"""`shim describe`."""

from __future__ import annotations

from time import time_ns

from shim.cli.adopt import load
from shim.cli.report import out
from shim.cli.verbs.hooks import read
from shim.errors import ShimError
from shim.model.container import Container
from shim.model.event import events
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print all about one container."""
    from shim.view.describe import describe

    container = load(Store(args.root), args.id)
    facts = {
        "oci": container.oci_state(),
        "state": container.state,
        "phase": container.phase(),
        "deliveries": read(container.dir),
        "events": events(container.dir.journal()),
        "network": _network(container),
    }
    out(describe(facts, time_ns() / 1e9))
    return 0


def _network(container: Container) -> list[dict[str, Any]] | None:
    """The devices of a live container that has a network namespace of its own."""
    from shim.kernel import netdev

    if not container.is_alive() or netdev.same_namespace(container.pid):
        return None
    try:
        return netdev.interfaces(container.pid)
    except ShimError:
        return None  # it ended while we looked
