"""Names and values of linux.sysctl, by allow pattern (SECURITY.md CV-33, IN-24)."""

from __future__ import annotations

_ALNUM = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_COMPONENT = _ALNUM | frozenset("-.:@")
# Numbers, lists, ranges, names, addresses; CVE-2022-0811 came in through a "+".
_VALUE = _ALNUM | frozenset(" \t.,:/=%@-")

_IPC = frozenset(
    f"kernel/{name}"
    for name in (
        "msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced",
    )
)  # fmt: skip


def sysctl_path(key: str) -> str:
    """The path below /proc/sys: "net.ipv4.conf.eth0/1.rp_filter" ->
    "net/ipv4/conf/eth0.1/rp_filter".

    The first separator decides, as in sysctl(8) and runc: after a dot, slashes and dots change
    places. ValueError when a component is empty, begins with a dot or has an unusual character.
    """
    first = next((char for char in key if char in "./"), "")
    path = key.translate({ord("."): "/", ord("/"): "."}) if first == "." else key
    parts = path.split("/")
    if len(parts) < 2:
        raise ValueError(f"{key[:64]!r} is not the name of a sysctl")
    for part in parts:
        if not part or part[0] not in _ALNUM or not _COMPONENT.issuperset(part):
            raise ValueError(f"{key[:64]!r} is not the name of a sysctl")
    return path


def check_value(value: str) -> None:
    """ValueError unless `value` is made of characters a sysctl needs."""
    if not value or len(value) > 4096 or not _VALUE.issuperset(value):
        raise ValueError(f"{value[:64]!r} is not a value for a sysctl")


def namespace_of(path: str) -> str | None:
    """The namespace type that owns the sysctl, None for the whole machine; runc's list."""
    if path.startswith("net/"):
        return "network"
    if path.startswith("fs/mqueue/") or path in _IPC:
        return "ipc"
    if path == "kernel/domainname":
        return "uts"
    return None
