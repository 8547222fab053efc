"""What config.json says, as slots classes (a dataclass costs 0.7 ms each at import,
ARCHITECTURE.md).

Names follow the runtime-spec; absent optional values are None, absent lists and maps are empty.
Import them from shim.bundle.spec.
"""

from __future__ import annotations

RLIM_INFINITY = 2**64 - 1


class Record:
    """Equality and repr over __slots__."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


class Rlimit(Record):
    """One resource limit: `name` as in config.json, `resource` for setrlimit(2)."""

    __slots__ = ("name", "resource", "soft", "hard")

    def __init__(self, name: str, resource: int, soft: int, hard: int) -> None:
        self.name, self.resource, self.soft, self.hard = name, resource, soft, hard


class Caps(Record):
    """The five capability sets as bit masks."""

    __slots__ = ("bounding", "effective", "permitted", "inheritable", "ambient")

    def __init__(
        self,
        bounding: int = 0,
        effective: int = 0,
        permitted: int = 0,
        inheritable: int = 0,
        ambient: int = 0,
    ) -> None:
        self.bounding, self.effective, self.permitted = bounding, effective, permitted
        self.inheritable, self.ambient = inheritable, ambient


class Process(Record):
    """The process to run. `console_size` is (rows, columns); `caps` None means none at all."""

    __slots__ = (
        "terminal", "console_size", "args", "env", "cwd", "uid", "gid", "additional_gids", "umask",
        "rlimits", "caps", "no_new_privileges", "oom_score_adj",
    )  # fmt: skip

    def __init__(
        self,
        *,
        args: list[str],
        cwd: str,
        env: list[str] | None = None,
        terminal: bool = False,
        console_size: tuple[int, int] | None = None,
        uid: int = 0,
        gid: int = 0,
        additional_gids: list[int] | None = None,
        umask: int | None = None,
        rlimits: list[Rlimit] | None = None,
        caps: Caps | None = None,
        no_new_privileges: bool = False,
        oom_score_adj: int | None = None,
    ) -> None:
        self.args, self.env, self.cwd = args, env or [], cwd
        self.terminal, self.console_size = terminal, console_size
        self.uid, self.gid, self.additional_gids = uid, gid, additional_gids or []
        self.umask, self.rlimits, self.caps = umask, rlimits or [], caps
        self.no_new_privileges, self.oom_score_adj = no_new_privileges, oom_score_adj


class Root(Record):
    """`path` as written: absolute or relative to the bundle."""

    __slots__ = ("path", "readonly")

    def __init__(self, path: str, readonly: bool = False) -> None:
        self.path, self.readonly = path, readonly


class Mount(Record):
    """One mount. `type` is "bind" whenever the options say bind or rbind, as for runc."""

    __slots__ = ("destination", "type", "source", "options")

    def __init__(self, destination: str, type: str, source: str, options: list[str]) -> None:
        self.destination, self.type, self.source, self.options = destination, type, source, options


class Namespace(Record):
    """`path` None: a new namespace; otherwise the one to join."""

    __slots__ = ("type", "path")

    def __init__(self, type: str, path: str | None = None) -> None:
        self.type, self.path = type, path


class IDMap(Record):
    __slots__ = ("container_id", "host_id", "size")

    def __init__(self, container_id: int, host_id: int, size: int) -> None:
        self.container_id, self.host_id, self.size = container_id, host_id, size


class Device(Record):
    """A device node: `type` is c, b, p (FIFO) or u (as c); `file_mode` has permission bits only."""

    __slots__ = ("type", "path", "major", "minor", "file_mode", "uid", "gid")

    def __init__(
        self,
        type: str,
        path: str,
        major: int,
        minor: int,
        file_mode: int | None = None,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        self.type, self.path, self.major, self.minor = type, path, major, minor
        self.file_mode, self.uid, self.gid = file_mode, uid, gid


class DeviceRule(Record):
    """A device cgroup rule; None for major or minor means every number."""

    __slots__ = ("allow", "type", "major", "minor", "access")

    def __init__(
        self, allow: bool, type: str, major: int | None, minor: int | None, access: str
    ) -> None:
        self.allow, self.type, self.major, self.minor = allow, type, major, minor
        self.access = access


class Memory(Record):
    """Bytes; -1 unlimited, None unset (0 in the file too, as for runc). `swap` is memory + swap."""

    __slots__ = ("limit", "reservation", "swap", "check_before_update")

    def __init__(
        self,
        limit: int | None = None,
        reservation: int | None = None,
        swap: int | None = None,
        check_before_update: bool = False,
    ) -> None:
        self.limit, self.reservation, self.swap = limit, reservation, swap
        self.check_before_update = check_before_update


class Cpu(Record):
    """`quota`, `period`, `burst` in microseconds; `shares` on the v1 scale of 2 to 262144."""

    __slots__ = ("shares", "quota", "period", "burst", "idle", "cpus", "mems")

    def __init__(
        self,
        shares: int | None = None,
        quota: int | None = None,
        period: int | None = None,
        burst: int | None = None,
        idle: int | None = None,
        cpus: str | None = None,
        mems: str | None = None,
    ) -> None:
        self.shares, self.quota, self.period, self.burst = shares, quota, period, burst
        self.idle, self.cpus, self.mems = idle, cpus, mems


class BlockIO(Record):
    """`weight_device`: (major, minor, weight).

    `throttle`: (rbps|wbps|riops|wiops, major, minor, rate a second).
    """

    __slots__ = ("weight", "weight_device", "throttle")

    def __init__(
        self,
        weight: int | None = None,
        weight_device: list[tuple[int, int, int]] | None = None,
        throttle: list[tuple[str, int, int, int]] | None = None,
    ) -> None:
        self.weight, self.weight_device, self.throttle = weight, weight_device or [], throttle or []


class Resources(Record):
    """cgroup limits. `pids_limit` -1 is unlimited, 0 a real limit; hugepages: ("2MB", bytes)."""

    __slots__ = ("devices", "memory", "cpu", "pids_limit", "block_io", "hugepage_limits", "unified")

    def __init__(
        self,
        *,
        devices: list[DeviceRule] | None = None,
        memory: Memory | None = None,
        cpu: Cpu | None = None,
        pids_limit: int | None = None,
        block_io: BlockIO | None = None,
        hugepage_limits: list[tuple[str, int]] | None = None,
        unified: dict[str, str] | None = None,
    ) -> None:
        self.devices, self.memory, self.cpu = devices or [], memory, cpu
        self.pids_limit, self.block_io = pids_limit, block_io
        self.hugepage_limits = hugepage_limits or []
        self.unified = unified or {}


class Linux(Record):
    """`time_offsets`: "monotonic" or "boottime" -> (seconds, nanoseconds)."""

    __slots__ = (
        "namespaces", "uid_mappings", "gid_mappings", "time_offsets", "devices", "cgroups_path",
        "resources", "sysctl", "masked_paths", "readonly_paths", "rootfs_propagation",
    )  # fmt: skip

    def __init__(
        self,
        *,
        namespaces: list[Namespace] | None = None,
        uid_mappings: list[IDMap] | None = None,
        gid_mappings: list[IDMap] | None = None,
        time_offsets: dict[str, tuple[int, int]] | None = None,
        devices: list[Device] | None = None,
        cgroups_path: str | None = None,
        resources: Resources | None = None,
        sysctl: dict[str, str] | None = None,
        masked_paths: list[str] | None = None,
        readonly_paths: list[str] | None = None,
        rootfs_propagation: str | None = None,
    ) -> None:
        self.namespaces = namespaces or []
        self.uid_mappings, self.gid_mappings = uid_mappings or [], gid_mappings or []
        self.time_offsets, self.devices = time_offsets or {}, devices or []
        self.cgroups_path, self.resources, self.sysctl = cgroups_path, resources, sysctl or {}
        self.masked_paths, self.readonly_paths = masked_paths or [], readonly_paths or []
        self.rootfs_propagation = rootfs_propagation

    def namespace(self, type: str) -> Namespace | None:
        """The namespace of `type`, None when the container shares the runtime's."""
        for namespace in self.namespaces:
            if namespace.type == type:
                return namespace
        return None


class Spec(Record):
    """config.json as a whole."""

    __slots__ = (
        "oci_version", "process", "root", "hostname", "domainname", "mounts", "annotations",
        "linux",
    )  # fmt: skip

    def __init__(
        self,
        *,
        oci_version: str,
        process: Process | None,
        root: Root,
        hostname: str | None = None,
        domainname: str | None = None,
        mounts: list[Mount] | None = None,
        annotations: dict[str, str] | None = None,
        linux: Linux,
    ) -> None:
        self.oci_version, self.process, self.root = oci_version, process, root
        self.hostname, self.domainname = hostname, domainname
        self.mounts, self.annotations, self.linux = mounts or [], annotations or {}, linux
