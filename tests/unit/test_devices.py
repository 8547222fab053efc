"""The device program, run by a small eBPF interpreter, against a plain model of the rules."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.engine.devices import DEFAULT_RULES, Rule, program

M, R, W = 1, 2, 4
BLOCK, CHAR = 1, 2
BITS = {"m": M, "r": R, "w": W}


class Verified(Exception):
    """The program does something the kernel's verifier refuses."""


def run(code: bytes, kind: int, major: int, minor: int, access: int) -> bool:
    """Interpret `code` on one access; refuses what the verifier would (loops, unset registers)."""
    context = struct.pack("<III", access << 16 | kind, major, minor)
    insns = list(struct.iter_unpack("<BBhi", code))
    registers: dict[int, int] = {}
    pc = 0
    while True:
        if pc >= len(insns):
            raise Verified("fell off the end")
        opcode, regs, offset, imm = insns[pc]
        dst, src = regs & 15, regs >> 4
        unsigned = imm & 0xFFFFFFFF
        if opcode == 0x61:
            if src != 1 or not 0 <= offset <= len(context) - 4:
                raise Verified("load outside of the context")
            registers[dst] = struct.unpack_from("<I", context, offset)[0]
        elif opcode == 0xBC:
            registers[dst] = registers[src]
        elif opcode == 0xB4:
            registers[dst] = unsigned
        elif opcode == 0x54:
            registers[dst] &= unsigned
        elif opcode == 0x74:
            registers[dst] >>= imm
        elif opcode in (0x16, 0x56):
            if offset < 0:
                raise Verified("backward jump")
            if (registers[dst] == unsigned) == (opcode == 0x16):
                pc += offset
        elif opcode == 0x95:
            if registers[0] not in (0, 1):
                raise Verified("return value")
            return registers[0] == 1
        else:
            raise Verified(f"opcode {opcode:#x}")
        pc += 1


def reachable(code: bytes) -> bool:
    """Whether every instruction can be reached: the verifier refuses dead code."""
    insns = list(struct.iter_unpack("<BBhi", code))
    seen: set[int] = set()
    todo = [0]
    while todo:
        pc = todo.pop()
        if pc in seen:
            continue
        seen.add(pc)
        opcode, _, offset, _ = insns[pc]
        if opcode == 0x95:
            continue
        todo.append(pc + 1)
        if opcode in (0x16, 0x56):
            todo.append(pc + 1 + offset)
    return seen == set(range(len(insns)))


def permitted(rules: list[Rule], kind: int, major: int, minor: int, access: int) -> bool:
    """The rules as the OCI text has them: each bit by the last rule covering it, default deny."""

    def bit(wanted: int) -> bool:
        answer = False
        for rule in rules:
            covers = any(BITS[letter] == wanted for letter in rule.access or "rwm")
            same_type = rule.type == "a" or rule.type == {BLOCK: "b", CHAR: "c"}[kind]
            same_major = rule.major in (None, -1, major)
            same_minor = rule.minor in (None, -1, minor)
            if covers and same_type and same_major and same_minor:
                answer = rule.allow
        return answer

    return all(bit(wanted) for wanted in (M, R, W) if access & wanted)


numbers = st.sampled_from([None, -1, 0, 1, 5, 259, 0xFFFFF, 0xFFFFFFFF])
accesses = st.sampled_from(["", "r", "w", "m", "rw", "rm", "wm", "rwm"])
rule_lists = st.lists(
    st.builds(Rule, st.booleans(), st.sampled_from("abc"), numbers, numbers, accesses), max_size=12
)
concrete = st.sampled_from([0, 1, 2, 5, 259, 0xFFFFF, 0xFFFFFFFF])


@settings(max_examples=1000)
@given(rule_lists, st.sampled_from([BLOCK, CHAR]), concrete, concrete, st.integers(1, 7))
def test_program_means_what_the_rules_say(
    rules: list[Rule], kind: int, major: int, minor: int, access: int
) -> None:
    code = program(rules)
    expected = permitted(rules, kind, major, minor, access)
    assert run(code, kind, major, minor, access) is expected


@given(rule_lists)
def test_program_has_no_dead_code(rules: list[Rule]) -> None:
    assert reachable(program(rules))


def test_no_rules_deny_everything() -> None:
    code = program([])
    assert not any(
        run(code, kind, 1, 3, access) for kind in (BLOCK, CHAR) for access in range(1, 8)
    )


def test_deny_of_one_bit_stops_a_wider_open() -> None:
    """crun answers yes here: it compares the access as a whole with the rule."""
    code = program([Rule(True, "c", 1, 3, "rwm"), Rule(False, "c", 1, 3, "w")])
    assert run(code, CHAR, 1, 3, R)
    assert not run(code, CHAR, 1, 3, W)
    assert not run(code, CHAR, 1, 3, R | W)


def test_minus_one_is_the_wildcard_that_engines_write() -> None:
    code = program([Rule(True, "c", 10, -1, "r"), Rule(True, "b", -1, 5, "r")])
    assert run(code, CHAR, 10, 229, R)
    assert run(code, BLOCK, 253, 5, R)
    assert not run(code, BLOCK, 253, 6, R)


def test_bits_may_come_from_different_rules() -> None:
    code = program([Rule(True, "c", 1, 3, "r"), Rule(True, "c", 1, None, "w")])
    assert run(code, CHAR, 1, 3, R | W)
    assert not run(code, CHAR, 1, 4, R)


@pytest.mark.parametrize(
    ("kind", "major", "minor", "access", "expected"),
    [
        (CHAR, 1, 3, R | W | M, True),  # null
        (CHAR, 1, 5, R | W, True),  # zero
        (CHAR, 1, 7, R | W, True),  # full
        (CHAR, 1, 8, R, True),  # random
        (CHAR, 1, 9, R, True),  # urandom
        (CHAR, 5, 0, R | W, True),  # tty
        (CHAR, 5, 2, R | W, True),  # ptmx
        (CHAR, 136, 41, R | W, True),  # pts/41
        (CHAR, 1, 1, M, True),  # mknod of /dev/mem
        (CHAR, 1, 1, R, False),  # but not reading it
        (BLOCK, 8, 0, M, True),
        (BLOCK, 8, 0, R, False),
        (CHAR, 10, 200, R | W, False),  # net/tun
        (CHAR, 10, 229, R | W, False),  # fuse
    ],
)
def test_defaults_after_deny_all(
    kind: int, major: int, minor: int, access: int, expected: bool
) -> None:
    """The rule that `runc spec` writes, with the defaults after it."""
    code = program([Rule(False, "a", None, None, "rwm"), *DEFAULT_RULES])
    assert run(code, kind, major, minor, access) is expected


def test_last_rule_for_everything_drops_what_came_before() -> None:
    many = [Rule(True, "c", 1, minor, "rwm") for minor in range(100)]
    assert program([*many, Rule(True, "a", None, None, "rwm")]) == program(
        [Rule(True, "a", None, None, "rwm")]
    )
