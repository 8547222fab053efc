"""OCI linux.resources as cgroup v2 settings. Pure: what to write where, and which field asked for
it.

The OCI fields speak cgroup v1; the conversions are runc's (github.com/opencontainers/cgroups:
fs2/*.go, utils.go), and where runc drops a value silently it is an error here. Sources:
runtime-spec 1.3.0 config-linux.md "Control groups", Documentation/admin-guide/cgroup-v2.rst. As in
runc, 0 means "not set" for memory, shares, quota, period and weights; a pids limit of 0 is a limit
(spec 1.3, OCI.md row 56).
"""

from __future__ import annotations

from shim.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.spec import BlockIO, Cpu, Memory, Resources

BASE = "/linux/resources"
DEFAULT_PERIOD = 100_000
"""Microseconds: the kernel's own cpu.max period."""


class Setting:
    """One write: `value` to `file` of the cgroup, asked for by the field at JSON `pointer`, needing
    `controller` ("" for none).

    `other` is a (file, value) to use when `file` is not there. `optional`: without the file there
    is nothing to do, because the kernel behaves as asked anyway.
    """

    __slots__ = ("controller", "file", "optional", "other", "pointer", "value")

    def __init__(
        self,
        file: str,
        value: str,
        pointer: str,
        controller: str,
        other: tuple[str, str] | None = None,
        optional: bool = False,
    ) -> None:
        self.file = file
        self.value = value
        self.pointer = BASE + pointer
        self.controller = controller
        self.other = other
        self.optional = optional

    def __repr__(self) -> str:
        return f"Setting({self.file!r}, {self.value!r}, {self.pointer!r})"


def settings(resources: Resources, file: str = "config.json") -> list[Setting]:
    """Every write that `resources` asks for, in the order to do them; unified comes last, so that
    it wins.

    InputError names `file` and the field when a value makes no sense on cgroup v2.
    """
    found: list[Setting] = []
    if resources.pids_limit is not None:
        value = _limit(resources.pids_limit, file, "/pids/limit")
        found.append(Setting("pids.max", value, "/pids/limit", "pids"))
    if resources.memory is not None:
        found += _memory(resources.memory, file)
    if resources.block_io is not None:
        found += _block_io(resources.block_io, file)
    if resources.cpu is not None:
        found += _cpu(resources.cpu)
    found += _hugetlb(resources.hugepage_limits, file)
    found += _unified(resources.unified, file)
    return found


def weight_from_shares(shares: int) -> int:
    """cpu.weight (1..10000) for v1 cpu.shares (2..262144): the curve through (2, 1), (1024, 100)
    and (262144, 10000) that runc uses since 1.3.2 and crun since 1.23 (opencontainers/runc#4772).
    The linear map before it made the default of 1024 shares a weight of 39 instead of 100."""
    from math import ceil, log2

    if shares <= 2:
        return 1
    if shares >= 1 << 18:
        return 10_000
    exponent = log2(shares)
    return ceil(10 ** ((exponent * exponent + 125 * exponent) / 612.0 - 7.0 / 34.0))


def io_weight(weight: int) -> int:
    """io.weight (1..10000) for a v1 blkio.weight (10..1000), linear as in runc."""
    return 1 + (weight - 10) * 9999 // 990


def _limit(value: int, file: str, pointer: str) -> str:
    if value < -1:
        raise InputError(file, BASE + pointer, f"{value} is no limit: it must be -1 (none) or more")
    return "max" if value == -1 else str(value)


def _memory(memory: Memory, file: str) -> list[Setting]:
    limit, swap = memory.limit or 0, memory.swap or 0
    found = []
    value = _swap(limit, swap, file)
    if value is not None:
        # Without swap accounting nothing can be limited, and "none" or "no limit" is what one has.
        idle = value in ("max", "0")
        found.append(Setting("memory.swap.max", value, "/memory/swap", "memory", optional=idle))
    if limit:
        text = _limit(limit, file, "/memory/limit")
        found.append(Setting("memory.max", text, "/memory/limit", "memory"))
    if memory.reservation:
        text = _limit(memory.reservation, file, "/memory/reservation")
        found.append(Setting("memory.low", text, "/memory/reservation", "memory"))
    return found


def _swap(limit: int, swap: int, file: str) -> str | None:
    """memory.swap.max: v1's limit is memory + swap, v2's is swap alone. None: leave it."""
    pointer = BASE + "/memory/swap"
    if swap == 0:
        return "max" if limit == -1 else None
    if swap < 0 or limit == -1:
        return _limit(swap, file, "/memory/swap")
    if limit == 0:
        raise InputError(file, pointer, "a swap limit needs a memory limit (swap = memory + swap)")
    if swap < limit:
        raise InputError(
            file, pointer, f"{swap} is below memory.limit {limit}: swap means memory + swap"
        )
    return str(swap - limit)


def _block_io(block: BlockIO, file: str) -> list[Setting]:
    found = []
    if block.weight:
        found.append(_weight(block.weight, "", file, "/blockIO/weight"))
    for index, (major, minor, weight) in enumerate(block.weight_device):
        if weight:
            pointer = f"/blockIO/weightDevice/{index}"
            found.append(_weight(weight, f"{major}:{minor} ", file, pointer))
    counts: dict[str, int] = {}
    for kind, major, minor, rate in block.throttle:
        index = counts[kind] = counts.get(kind, -1) + 1
        # v1 takes 0 for "no limit", v2 refuses it (ERANGE) and says "max".
        value = f"{major}:{minor} {kind}={rate or 'max'}"
        pointer = f"/blockIO/{_THROTTLE_FIELDS[kind]}/{index}"
        found.append(Setting("io.max", value, pointer, "io"))
    return found


_THROTTLE_FIELDS = {
    "rbps": "throttleReadBpsDevice",
    "wbps": "throttleWriteBpsDevice",
    "riops": "throttleReadIOPSDevice",
    "wiops": "throttleWriteIOPSDevice",
}


def _weight(weight: int, device: str, file: str, pointer: str) -> Setting:
    if not 10 <= weight <= 1000:
        raise InputError(file, BASE + pointer, f"weight {weight} is not between 10 and 1000")
    # BFQ has v1's scale; io.weight (blk-iocost) exists without it.
    other = ("io.weight", f"{device}{io_weight(weight)}")
    return Setting("io.bfq.weight", f"{device}{weight}", pointer, "io", other)


def _cpu(cpu: Cpu) -> list[Setting]:
    found = []
    if cpu.shares:
        weight = weight_from_shares(cpu.shares)
        found.append(Setting("cpu.weight", str(weight), "/cpu/shares", "cpu"))
    if cpu.idle is not None:
        # The kernel refuses a weight (EINVAL) for a group that is idle, so leave idle first, enter
        # it last.
        setting = Setting("cpu.idle", str(cpu.idle), "/cpu/idle", "cpu")
        found.insert(0 if cpu.idle == 0 else len(found), setting)
    if cpu.quota or cpu.period:
        quota = str(cpu.quota) if cpu.quota and cpu.quota > 0 else "max"
        pointer = "/cpu/quota" if cpu.quota else "/cpu/period"
        found.append(Setting("cpu.max", f"{quota} {cpu.period or DEFAULT_PERIOD}", pointer, "cpu"))
    if cpu.burst is not None:
        # After cpu.max: a burst above the quota is EINVAL, and the quota of a new cgroup is "max".
        found.append(Setting("cpu.max.burst", str(cpu.burst), "/cpu/burst", "cpu"))
    if cpu.cpus:
        found.append(Setting("cpuset.cpus", cpu.cpus, "/cpu/cpus", "cpuset"))
    if cpu.mems:
        found.append(Setting("cpuset.mems", cpu.mems, "/cpu/mems", "cpuset"))
    return found


_DIGITS = frozenset("0123456789")


def _page_size(size: str) -> bool:
    number, unit = size[:-2], size[-2:]
    plain = number != "" and _DIGITS.issuperset(number) and number[0] != "0"
    return plain and unit in ("KB", "MB", "GB")


def _hugetlb(limits: list[tuple[str, int]], file: str) -> list[Setting]:
    found = []
    for index, (size, limit) in enumerate(limits):
        pointer = f"/hugepageLimits/{index}"
        if not _page_size(size):
            cause = f"invalid page size {size!r}: it must be like 64KB, 2MB or 1GB"
            raise InputError(file, f"{BASE}{pointer}/pageSize", cause)
        found.append(Setting(f"hugetlb.{size}.max", str(limit), pointer, "hugetlb"))
        # Reservations count too, else mmap could reserve past the limit (runc; file since Linux
        # 5.7).
        rsvd = f"hugetlb.{size}.rsvd.max"
        found.append(Setting(rsvd, str(limit), pointer, "hugetlb", optional=True))
    return found


def _unified(unified: dict[str, str], file: str) -> list[Setting]:
    found = []
    for key, text in unified.items():
        pointer = "/unified/" + key.replace("~", "~0").replace("/", "~1")
        if "/" in key or key in ("", ".", "..") or "\0" in key:
            raise InputError(
                file, BASE + pointer, "a key must be a file name of the cgroup, without /"
            )
        controller = key.partition(".")[0]
        controller = "" if controller == "cgroup" else controller
        # A file such as io.max takes one device in a write, hence a write for each line, as runc
        # does. An empty value still is a write: a newline empties cpuset.cpus, zero bytes do
        # nothing.
        lines = text.strip("\n").split("\n")
        found += [Setting(key, line or "\n", pointer, controller) for line in lines]
    return found
