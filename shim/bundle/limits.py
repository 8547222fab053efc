"""What one hook may use: `resources: {memory, pids, cpu}` beside its handler.

Quantities are written as in the Kubernetes API: memory in bytes or with a suffix (64Mi), cpu in
cores or thousandths of one (500m).
"""

from __future__ import annotations

from shim.bundle.classes import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.fields import Value

_RESOURCES = frozenset(("memory", "pids", "cpu"))
_UNITS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}  # fmt: skip
MEMORY_MAX = 2**63 - 1
PIDS_MIN, PIDS_MAX = 2, 2**22
"""The helper that starts the hook is one process beside it (csrc/ns.c, op_fork); PID_MAX_LIMIT."""
CPU_MIN, CPU_MAX = 10, 10**6
"""Thousandths of a core: the kernel refuses a quota below 1 ms in the period of 100 ms."""


class Limits(Record):
    """`memory` in bytes, `pids` processes and threads, `cpu` in thousandths of a core; None: as
    much as the container may. With none of them the hook is only counted apart."""

    __slots__ = ("cpu", "memory", "pids")

    def __init__(
        self, memory: int | None = None, pids: int | None = None, cpu: int | None = None
    ) -> None:
        self.memory, self.pids, self.cpu = memory, pids, cpu

    def to_json(self) -> dict[str, object]:
        """As read_limits takes it."""
        cpu = None if self.cpu is None else f"{self.cpu}m"
        found = {"memory": self.memory, "pids": self.pids, "cpu": cpu}
        return {name: value for name, value in found.items() if value is not None}


def read_limits(value: Value) -> Limits:
    """The `resources` object; InputError for an unknown field or a value that is no quantity."""
    fields = value.record(_RESOURCES, strict=True)
    memory, cpu = fields.get("memory"), fields.get("cpu")
    return Limits(
        memory=None if memory is None else _memory(memory),
        pids=fields.integer("pids", PIDS_MIN, PIDS_MAX),
        cpu=None if cpu is None else _cpu(cpu),
    )


def _memory(value: Value) -> int:
    text = value.value
    if not isinstance(text, str):
        return value.integer(1, MEMORY_MAX)
    digits = text.rstrip("kKMGTi")
    unit = _UNITS.get(text[len(digits) :])
    if unit is None or not _plain_digits(digits) or not 0 < int(digits) * unit <= MEMORY_MAX:
        value.fail(f"must be bytes above 0, or like 64Mi or 1G, not {text[:32]!r}")
    return int(digits) * unit


def _cpu(value: Value) -> int:
    """A thousandth is as fine as it gets, in Kubernetes too."""
    given = value.value
    thousandths: float | None = None
    if isinstance(given, str):
        if given.endswith("m") and _plain_digits(given[:-1]):
            thousandths = int(given[:-1])
        elif _plain_digits(given.replace(".", "", 1)):
            thousandths = float(given) * 1000
    elif isinstance(given, int | float) and not isinstance(given, bool):
        thousandths = given * 1000
    if thousandths is None or not CPU_MIN <= thousandths <= CPU_MAX:
        value.fail(f"must be cores from 0.01 to 1000, like 0.5 or 500m, not {str(given)[:32]!r}")
    if abs(thousandths - round(thousandths)) > 1e-6:
        value.fail("must be whole thousandths of a core")
    return round(thousandths)


def _plain_digits(text: str) -> bool:
    """int() would also take signs, spaces, underscores and other scripts' digits."""
    return text.isascii() and text.isdigit() and len(text) <= 19
