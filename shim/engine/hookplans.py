"""The packed plans of a container's hooks: create's exec plan with the hook's command and context
in its environment. Nothing is compiled when a hook is due (ARCHITECTURE.md, "The one idea")."""

from __future__ import annotations

from shim.engine.stop import POST_START, PRE_STOP
from shim.model import plan, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.lifecycle import Handler, Lifecycle
    from shim.model.directory import ContainerDir


class HookPlans:
    """By (hook, attempt, trigger); the usual ones are packed by `load`, others when asked for."""

    __slots__ = ("_packed", "_template", "_words")

    def __init__(self) -> None:
        self._template = self._words = b""
        self._packed: dict[tuple[str, int, str], bytes] = {}

    def load(self, directory: ContainerDir, lifecycle: Lifecycle) -> None:
        """Read what create left and pack the first attempt of each hook for its usual trigger."""
        self._template = directory.read_bytes("exec.plan")
        self._words = directory.read_bytes("exec.json")
        for handler, hook, trigger in (
            (lifecycle.post_start, POST_START, "start"),
            (lifecycle.pre_stop, PRE_STOP, "api"),
        ):
            if handler is not None and handler.kind == "exec":
                self.packed(handler, hook, 1, trigger)

    def packed(self, handler: Handler, hook: str, attempt: int, trigger: str) -> bytes:
        """The plan of one delivery. ShimError when its arguments are too long."""
        key = (hook, attempt, trigger)
        if key not in self._packed:
            context = [
                f"SHIM_HOOK={hook}",
                f"SHIM_HOOK_ATTEMPT={attempt}",
                f"SHIM_HOOK_REASON={trigger}",
            ]
            self._packed[key] = plan.with_command(self._template, handler.command, context)
        return self._packed[key]

    def ops(self, handler: Handler) -> list[plan.Op]:
        """The words of the plan, to explain a failed step."""
        return words.load(self._words, handler.command)
