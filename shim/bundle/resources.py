"""The `linux.resources` object: cgroup v2 limits. Also what `update --resources` reads.

What exists on cgroup v1 only is refused by name as soon as it asks for an effect.
"""

from __future__ import annotations

from shim.bundle.classes import BlockIO, Cpu, DeviceRule, Memory, Resources
from shim.bundle.fields import INT64_MAX, INT64_MIN, UINT64_MAX, Object, Value

# dev_t of Linux: 12 bits of major, 20 of minor (linux/kdev_t.h).
MAJOR_MAX, MINOR_MAX = 2**12 - 1, 2**20 - 1

_RESOURCES = frozenset(
    (
        "devices", "memory", "cpu", "pids", "blockIO", "hugepageLimits", "network", "rdma",
        "unified",
    )
)  # fmt: skip
_RULE = frozenset(("allow", "type", "major", "minor", "access"))
_MEMORY = frozenset(
    (
        "limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness", "disableOOMKiller",
        "useHierarchy", "checkBeforeUpdate",
    )
)  # fmt: skip
_CPU = frozenset(
    (
        "shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems",
        "idle",
    )
)  # fmt: skip
_PIDS = frozenset(("limit",))
_THROTTLE = {
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}
_BLOCK_IO = frozenset(("weight", "leafWeight", "weightDevice", *_THROTTLE))
_WEIGHT = frozenset(("major", "minor", "weight", "leafWeight"))
_RATE = frozenset(("major", "minor", "rate"))
_HUGEPAGE = frozenset(("pageSize", "limit"))
_NETWORK = frozenset(("classID", "priorities"))
_CPUSET = frozenset("0123456789,-")
# Writing these moves, stops or kills processes behind the runtime's back; they limit nothing.
_ACTING = frozenset(
    f"cgroup.{name}"
    for name in ("procs", "threads", "kill", "freeze", "type", "subtree_control", "pressure")
)
_V1_ONLY = "not supported: it exists on cgroup v1 only"


def read_resources(value: Value) -> Resources:
    """The limits in `value`; InputError and UnsupportedError carry the pointer of the field."""
    fields = value.record(_RESOURCES)
    _v1_only(fields)
    fields.refuse("rdma")
    memory, cpu, pids = fields.get("memory"), fields.get("cpu"), fields.get("pids")
    block_io = fields.get("blockIO")
    return Resources(
        devices=fields.each("devices", _rule),
        memory=None if memory is None else _memory(memory),
        cpu=None if cpu is None else _cpu(cpu),
        pids_limit=None if pids is None else pids.record(_PIDS).integer("limit", -1, INT64_MAX),
        block_io=None if block_io is None else _block_io(block_io),
        hugepage_limits=fields.each("hugepageLimits", _hugepage),
        unified=_unified(fields),
    )


def _v1_only(fields: Object) -> None:
    network = fields.get("network")
    if network is not None:
        record = network.record(_NETWORK)
        for name in ("classID", "priorities"):
            value = record.get(name)
            if value is not None and value.value not in (0, []):
                value.unsupported(_V1_ONLY)


def _rule(item: Value) -> DeviceRule:
    fields = item.record(_RULE)
    kind, access = fields.get("type"), fields.get("access")
    text = "rwm" if access is None else access.text()
    if access is not None and not set(text) <= set("rwm"):
        access.fail(f"must be made of r, w and m, not {text[:64]!r}")
    return DeviceRule(
        allow=fields.need("allow").boolean(),
        type=(kind.choice(("a", "b", "c", "")) if kind is not None else "") or "a",
        major=_wildcard(fields.integer("major", -1, MAJOR_MAX)),
        minor=_wildcard(fields.integer("minor", -1, MINOR_MAX)),
        access=text or "rwm",
    )


def _wildcard(number: int | None) -> int | None:
    # runc reads -1 as "all"; docker writes it.
    return None if number == -1 else number


def _memory(value: Value) -> Memory:
    fields = value.record(_MEMORY)
    for name in ("kernel", "kernelTCP"):
        limit = fields.integer(name, -1, INT64_MAX)
        if limit not in (None, -1, 0):
            fields.need(name).unsupported(_V1_ONLY)
    if fields.integer("swappiness", 0, 100) is not None:
        fields.need("swappiness").unsupported(_V1_ONLY)
    if fields.boolean("disableOOMKiller"):
        fields.need("disableOOMKiller").unsupported(_V1_ONLY)
    if (hierarchy := fields.get("useHierarchy")) is not None and not hierarchy.boolean():
        hierarchy.unsupported("not supported: cgroup v2 is always hierarchical")
    return Memory(
        limit=fields.integer("limit", -1, INT64_MAX) or None,
        reservation=fields.integer("reservation", -1, INT64_MAX) or None,
        swap=fields.integer("swap", -1, INT64_MAX) or None,
        check_before_update=fields.boolean("checkBeforeUpdate"),
    )


def _cpu(value: Value) -> Cpu:
    fields = value.record(_CPU)
    for name, low in (("realtimeRuntime", INT64_MIN), ("realtimePeriod", 0)):
        if fields.integer(name, low, UINT64_MAX):
            fields.need(name).unsupported(_V1_ONLY)
    return Cpu(
        shares=fields.integer("shares", 0, UINT64_MAX) or None,
        quota=fields.integer("quota", -1, INT64_MAX) or None,
        period=fields.integer("period", 0, INT64_MAX) or None,
        burst=fields.integer("burst", 0, INT64_MAX),
        idle=fields.integer("idle", 0, 1),
        cpus=_cpuset(fields, "cpus"),
        mems=_cpuset(fields, "mems"),
    )


def _cpuset(fields: Object, name: str) -> str | None:
    value = fields.get(name)
    text = "" if value is None else value.text()
    if value is not None and not _CPUSET.issuperset(text):
        value.fail(f"must be a list such as 0-3,6, not {text[:64]!r}")
    return text or None


def _block_io(value: Value) -> BlockIO:
    fields = value.record(_BLOCK_IO)
    _no_leaf_weight(fields)
    throttle = [
        (short, *rate) for name, short in _THROTTLE.items() for rate in fields.each(name, _rate)
    ]
    return BlockIO(
        weight=_weight_of(fields) or None,
        weight_device=[entry for entry in fields.each("weightDevice", _weight) if entry[2]],
        throttle=throttle,
    )


def _no_leaf_weight(fields: Object) -> None:
    if fields.integer("leafWeight", 0, 1000):
        fields.need("leafWeight").unsupported(_V1_ONLY)


def _rate(item: Value) -> tuple[int, int, int]:
    major, minor, fields = _numbers(item, _RATE)
    return major, minor, fields.need("rate").integer(0, UINT64_MAX)


def _weight(item: Value) -> tuple[int, int, int]:
    major, minor, fields = _numbers(item, _WEIGHT)
    _no_leaf_weight(fields)
    return major, minor, _weight_of(fields)


def _weight_of(fields: Object) -> int:
    weight = fields.integer("weight", 0, 1000) or 0
    if 0 < weight < 10:
        fields.need("weight").fail(f"must be from 10 to 1000, or 0 for none, not {weight}")
    return weight


def _numbers(item: Value, known: frozenset[str]) -> tuple[int, int, Object]:
    fields = item.record(known)
    major = fields.need("major").integer(0, MAJOR_MAX)
    return major, fields.need("minor").integer(0, MINOR_MAX), fields


def _hugepage(item: Value) -> tuple[str, int]:
    fields = item.record(_HUGEPAGE)
    size = fields.need("pageSize")
    text = size.text()
    digits = text[:-2]
    if text[-2:] not in ("KB", "MB", "GB") or not (digits.isascii() and digits.isdigit()):
        size.fail(f"must be a size such as 2MB, not {text[:64]!r}")
    return text, fields.need("limit").integer(0, UINT64_MAX)


def _unified(fields: Object) -> dict[str, str]:
    value = fields.get("unified")
    found: dict[str, str] = {}
    for name, item in ({} if value is None else value.members()).items():
        if "." not in name.strip(".") or "/" in name or "\0" in name:
            item.fail("is not the name of a cgroup file")
        if name in _ACTING:
            item.fail("acts on processes and is not a resource")
        found[name] = item.text()
    return found
