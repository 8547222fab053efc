"""Load a container for a verb that only looks, and notice when its monitor was killed."""

from __future__ import annotations

from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.model.store import Store


def load(store: Store, id: str) -> Container:
    """The container `id`; what a dead monitor had begun is taken up again (SECURITY.md SP-11)."""
    container = Container.load(store, id)
    if container.orphaned():
        from shim.engine.client import adopt

        adopt(store, container)
    return container
