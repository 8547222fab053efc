"""The OCI device rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE. Pure.

cgroup v2 has no devices controller: the kernel asks a program attached to the cgroup at each mknod
and each open of a device node (cgroup-v2.rst "Device controller"). The context is `struct
bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }` with access_type = access << 16 |
type (linux/bpf.h).

Meaning: rules are an ordered list over a default of "deny"; each requested access bit (m, r, w) is
decided by the last rule that covers it, and the access is permitted when every bit is. Deciding by
bit matters: crun tests a rule against the access as a whole, so that "deny w" after "allow rwm"
does not stop an open for reading and writing.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from shim.bundle.spec import DeviceRule

# enum in linux/bpf.h: BPF_DEVCG_DEV_*, BPF_DEVCG_ACC_*
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7

# Opcodes: class | operation | source (linux/bpf.h, linux/bpf_common.h). JMP32 since Linux 5.1.
_LOAD_W = 0x61  # LDX | MEM | W
_MOV_X, _MOV_K = 0xBC, 0xB4  # ALU32 | MOV
_AND_K, _RSH_K = 0x54, 0x74  # ALU32 | AND, RSH
_JEQ_K, _JNE_K = 0x16, 0x56  # JMP32 | JEQ, JNE
_EXIT = 0x95

_R0, _CTX, _TYPE, _WANTED, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5

_TUPLES: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", 1, 3, "rwm"),  # null
    ("c", 1, 8, "rwm"),  # random
    ("c", 1, 7, "rwm"),  # full
    ("c", 5, 0, "rwm"),  # tty
    ("c", 1, 5, "rwm"),  # zero
    ("c", 1, 9, "rwm"),  # urandom
    ("c", 136, None, "rwm"),  # pts/*, console among them
    ("c", 5, 2, "rwm"),  # ptmx
)


class Rule:
    """Same attributes as bundle.spec.DeviceRule, so that this module needs nothing from bundle."""

    __slots__ = ("access", "allow", "major", "minor", "type")

    def __init__(
        self, allow: bool, type_: str, major: int | None, minor: int | None, access: str
    ) -> None:
        self.allow = allow
        self.type = type_
        self.major = major
        self.minor = minor
        self.access = access


DEFAULT_RULES = [Rule(True, *fields) for fields in _TUPLES]
"""What every container may use, put after its own rules: runc's AllowedDevices
(specconv/spec_linux.go). No config can take them away, in runc as here. /dev/net/tun is not among
them: runc dropped it in 1.2.0 and took it back in 1.2.4 for those who mknod it by hand; here a
config that wants it says so."""


def program(rules: Sequence[DeviceRule | Rule]) -> bytes:
    """Instructions for `rules`, exactly these: callers append DEFAULT_RULES themselves.

    It walks from the last rule to the first with the access bits still undecided in a register: a
    matching "allow" takes its bits out and permits when none is left, a matching "deny" of any bit
    left denies. What no rule decides is denied.
    """
    code = [
        _insn(_LOAD_W, _TYPE, _CTX, 0),
        _insn(_MOV_X, _WANTED, _TYPE),
        _insn(_RSH_K, _WANTED, imm=16),
        _insn(_AND_K, _TYPE, imm=0xFFFF),
        _insn(_LOAD_W, _MAJOR, _CTX, 4),
        _insn(_LOAD_W, _MINOR, _CTX, 8),
    ]
    for rule in reversed(rules):
        checks = _checks(rule)
        mask = _mask(rule.access)
        if not checks and mask == _ALL:
            # Decides everything: what comes before it cannot matter, and the verifier refuses
            # unreachable instructions.
            return b"".join([*code, *_answer(rule.allow)])
        code += _block(checks, mask, rule.allow)
    return b"".join([*code, *_answer(False)])


def _checks(rule: DeviceRule | Rule) -> list[tuple[int, int]]:
    """(register, value) pairs that must be equal for the rule to apply."""
    checks = [] if rule.type == "a" else [(_TYPE, _TYPES[rule.type])]
    # None is the wildcard; so is -1, which is how engines write it.
    for register, number in ((_MAJOR, rule.major), (_MINOR, rule.minor)):
        if number is not None and number >= 0:
            checks.append((register, number))
    return checks


def _block(checks: list[tuple[int, int]], mask: int, allow: bool) -> list[bytes]:
    if allow:
        body = [
            _insn(_AND_K, _WANTED, imm=~mask),
            _insn(_JNE_K, _WANTED, offset=2, imm=0),
            *_answer(True),
        ]
    else:
        body = [
            _insn(_MOV_X, _R0, _WANTED),
            _insn(_AND_K, _R0, imm=mask),
            _insn(_JEQ_K, _R0, offset=2, imm=0),
            *_answer(False),
        ]
    size = len(checks) + len(body)
    head = [
        _insn(_JNE_K, register, offset=size - index - 1, imm=value)
        for index, (register, value) in enumerate(checks)
    ]
    return head + body


def _answer(allow: bool) -> list[bytes]:
    return [_insn(_MOV_K, _R0, imm=int(allow)), _insn(_EXIT)]


def _mask(access: str) -> int:
    """Bits of "rwm"; a rule without access means all of it."""
    mask = 0
    for letter in access or "rwm":
        mask |= _ACCESS[letter]
    return mask


def _insn(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    """One struct bpf_insn, little-endian."""
    return struct.pack("<BBhI", opcode, src << 4 | dst, offset, imm & 0xFFFFFFFF)
