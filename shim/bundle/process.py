"""The `process` object of config.json, also the whole file of `exec --process`."""

from __future__ import annotations

from shim.bundle.caps import CAPABILITIES
from shim.bundle.classes import Caps, Process, Rlimit
from shim.bundle.fields import UINT64_MAX, Object, Value

ID_MAX = 2**32 - 2
"""(uid_t)-1 means "leave it" to setresuid(2): crun ran 4294967295 as root (SECURITY.md IN-05)."""

# asm-generic/resource.h; MIPS, SPARC and Alpha number them differently and are not supported.
RLIMITS: dict[str, int] = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}

# Valid fields whose effect is not there yet: refused by name when they ask for something.
_UNSUPPORTED = (
    "apparmorProfile", "selinuxLabel", "scheduler", "ioPriority", "execCPUAffinity",
)  # fmt: skip
_PROCESS = frozenset(
    (
        "terminal", "consoleSize", "user", "args", "env", "cwd", "capabilities", "rlimits",
        "noNewPrivileges", "oomScoreAdj", *_UNSUPPORTED,
    )
)  # fmt: skip
_USER = frozenset(("uid", "gid", "umask", "additionalGids", "username"))
_CAPS = ("bounding", "effective", "permitted", "inheritable", "ambient")
_CAP_FIELDS = frozenset(_CAPS)
_RLIMIT = frozenset(("type", "soft", "hard"))
_SIZE = frozenset(("height", "width"))


def read_process(value: Value) -> Process:
    """The process in `value`; InputError and UnsupportedError carry the pointer of the field."""
    fields = value.record(_PROCESS)
    fields.refuse(*_UNSUPPORTED)
    user = fields.get("user")
    ids = Object({}, "", value.file) if user is None else user.record(_USER)
    if (name := ids.get("username")) is not None and name.text():
        # Defined for Windows only; to run as root because a name was ignored would be worse.
        name.unsupported("not supported: Linux containers take uid and gid")
    caps = fields.get("capabilities")
    return Process(
        terminal=fields.boolean("terminal"),
        console_size=_console_size(fields),
        args=_args(fields),
        env=fields.each("env", _variable),
        cwd=fields.need("cwd").path(),
        uid=ids.integer("uid", 0, ID_MAX) or 0,
        gid=ids.integer("gid", 0, ID_MAX) or 0,
        additional_gids=ids.each("additionalGids", lambda item: item.integer(0, ID_MAX)),
        umask=ids.integer("umask", 0, 0o777),
        rlimits=_rlimits(fields),
        caps=None if caps is None else _capabilities(caps),
        no_new_privileges=fields.boolean("noNewPrivileges"),
        oom_score_adj=fields.integer("oomScoreAdj", -1000, 1000),
    )


def _args(fields: Object) -> list[str]:
    value = fields.need("args")
    args = [item.text() for item in value.items()]
    if not args:
        value.fail("must not be empty")
    if not args[0]:
        value.items()[0].fail("must not be empty")
    return args


def _variable(item: Value) -> str:
    text = item.text()
    if text.find("=") < 1:
        item.fail(f"must be NAME=VALUE, not {text[:64]!r}")
    return text


def _console_size(fields: Object) -> tuple[int, int] | None:
    value = fields.get("consoleSize")
    if value is None:
        return None
    size = value.record(_SIZE)
    # struct winsize holds unsigned shorts (ioctl_tty(2)).
    return size.need("height").integer(0, 65535), size.need("width").integer(0, 65535)


def _rlimits(fields: Object) -> list[Rlimit]:
    found: list[Rlimit] = []
    for item in [] if (value := fields.get("rlimits")) is None else value.items():
        record = item.record(_RLIMIT)
        kind = record.need("type")
        name = kind.text()
        if name not in RLIMITS:
            kind.fail(f"unknown rlimit {name[:64]!r}")
        if any(other.name == name for other in found):
            kind.fail(f"duplicate rlimit {name}")
        soft = record.need("soft").integer(0, UINT64_MAX)
        hard = record.need("hard").integer(0, UINT64_MAX)
        if soft > hard:
            item.fail(f"soft limit {soft} is above the hard limit {hard}")
        found.append(Rlimit(name, RLIMITS[name], soft, hard))
    return found


def _capabilities(value: Value) -> Caps:
    sets = value.record(_CAP_FIELDS)
    return Caps(*(_mask(sets, name) for name in _CAPS))


def _mask(sets: Object, name: str) -> int:
    bits = 0
    value = sets.get(name)
    for item in [] if value is None else value.items():
        text = item.text()
        if text not in CAPABILITIES:
            item.fail(f"unknown capability {text[:64]!r}")
        bits |= 1 << CAPABILITIES[text]
    return bits
