"""Capability names and numbers of linux/capability.h: 41, none added since Linux 5.9."""

from __future__ import annotations

_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip

CAPABILITIES: dict[str, int] = {f"CAP_{name}": number for number, name in enumerate(_NAMES)}


def mask(names: list[str]) -> int:
    """The bit mask of `names`; KeyError names the first one that is no capability."""
    bits = 0
    for name in names:
        bits |= 1 << CAPABILITIES[name]
    return bits


def names(bits: int) -> list[str]:
    """The names in a mask, lowest bit first; bits without a name are rendered as their number."""
    known = list(CAPABILITIES)
    return [
        known[bit] if bit < len(known) else str(bit)
        for bit in range(bits.bit_length())
        if bits >> bit & 1
    ]
