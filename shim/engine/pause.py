"""`pause` and `resume`: the cgroup v2 freezer (cgroup-v2.rst, cgroup.freeze)."""

from __future__ import annotations

from shim.engine.kill import open_cgroup
from shim.model import status
from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.model.store import Store


def pause(store: Store, id: str) -> None:
    """Freeze every process of the container; returns when they are."""
    container = Container.load(store, id)
    status.check("pause", container.status())
    with open_cgroup(container) as cgroup:
        cgroup.freeze()


def resume(store: Store, id: str) -> None:
    """Thaw them."""
    container = Container.load(store, id)
    status.check("resume", container.status())
    with open_cgroup(container) as cgroup:
        cgroup.thaw()
