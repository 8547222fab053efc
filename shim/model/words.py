"""The words of a packed plan, kept beside it: they explain a failed step without compiling again,
and are read only when a step has failed."""

from __future__ import annotations

from shim import jsontext
from shim.model.plan import Op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def dump(ops: Sequence[Op]) -> bytes:
    """[[name, text, where], ...] as JSON."""
    return jsontext.dumps([[op.name, op.text, op.where] for op in ops]).encode()


def load(data: bytes, command: Sequence[str] = ()) -> list[Op]:
    """The ops again: they can be explained, not packed. `command` is what the EXEC op would run."""
    ops = [Op(name, text, where) for name, text, where in jsontext.loads(data)]
    if ops and command:
        ops[-1].list = tuple(command)
    return ops
