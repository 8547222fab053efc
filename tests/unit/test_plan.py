"""shim.model.plan: packing, patching the command, and turning what comes back into words."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.plan_support import Record, unpack

from shim.errors import (
    CannotInvokeError,
    CommandNotFoundError,
    KernelError,
    NotRunningError,
    ShimError,
)
from shim.model import plan
from shim.model.plan import Op

# what os.fsdecode may give, and what a JSON string may hold besides NUL
byte_strings = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"0"))
texts = st.one_of(
    byte_strings.map(os.fsdecode),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
)
names = st.text(st.sampled_from("ABXY_"), min_size=1, max_size=2)
variables = st.builds("{}={}".format, names, texts)
environments = st.lists(variables, max_size=8)
numbers = st.integers(-(1 << 63), (1 << 64) - 1)
ops = st.builds(
    Op,
    st.sampled_from(sorted(set(plan.CODES) - {"EXEC"})),
    texts,
    flags=st.integers(0, 0xFFFF),
    fd=st.none() | st.sampled_from(["root", "init", "tree0"]),
    num=st.lists(numbers, max_size=4),
    str=st.lists(texts, max_size=3),
    list=st.none() | st.lists(texts, max_size=5),
    list2=st.none() | st.lists(texts, max_size=5),
    nums=st.none() | st.lists(st.integers(0, 0xFFFFFFFF), max_size=5),
)


def execute(argv: list[str], env: list[str] | None = None) -> Op:
    return Op("EXEC", f"execve {argv[0]}", list=argv, list2=env)


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def expected(op: Op, slots: list[str]) -> Record:
    padded: list[bytes | None] = [*map(raw, op.str), None, None, None][:3]
    return Record(
        code=plan.CODES[op.name],
        flags=op.flags,
        fd=-1 if op.fd is None else slots.index(op.fd),
        num=[n % (1 << 64) for n in op.num] + [0] * (4 - len(op.num)),
        str=padded,
        list=None if op.list is None else [raw(s) for s in op.list],
        list2=None if op.list2 is None else [raw(s) for s in op.list2],
        nums=None if op.nums is None else list(op.nums),
    )


@given(st.lists(ops, max_size=8), st.lists(texts, min_size=1, max_size=4), environments)
def test_every_field_survives_packing(many: list[Op], argv: list[str], env: list[str]) -> None:
    whole = [*many, execute(argv, env)]
    assert unpack(plan.pack(whole)) == [expected(op, plan.slots(whole)) for op in whole]


def test_strings_of_a_plan_are_stored_once() -> None:
    once = plan.pack([Op("CHDIR", "", str=["/some/long/path"]), execute(["/bin/true"])])
    twice = plan.pack([Op("CHDIR", "", str=["/some/long/path"])] * 2 + [execute(["/bin/true"])])
    assert len(twice) - len(once) == plan.RECORD.size


def test_an_empty_string_and_an_empty_list_are_not_absent() -> None:
    (record, _) = unpack(
        plan.pack([Op("SYSCTL", "", str=["", ""], list=[], nums=[]), execute([""])])
    )
    assert record.str == [b"", b"", None]
    assert (record.list, record.list2, record.nums) == ([], None, [])


def test_slots_are_named_once_in_the_order_of_use() -> None:
    many = [Op("JOIN_NS", "", fd=name) for name in ("net", "ipc", "net", "user")]
    many.insert(1, Op("SETSID", ""))
    assert plan.slots(many) == ["net", "ipc", "user"]
    assert [r.fd for r in unpack(plan.pack([*many, execute(["a"])]))] == [0, -1, 1, 0, 2, -1]


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "x\udfff"])
@pytest.mark.parametrize("place", ["str", "list", "list2"])
def test_what_c_cannot_hold_is_refused(text: str, place: str) -> None:
    op = Op("SYSCTL", "", **{place: [text]})  # type: ignore[arg-type]
    with pytest.raises(ShimError, match=r"NUL byte in|not a string of bytes") as caught:
        plan.pack([op, execute(["a"])])
    assert str(caught.value).isascii()
    with pytest.raises(ShimError):
        plan.with_command(plan.pack([execute(["a"], [])]), ["a", text])
    with pytest.raises(ShimError):
        plan.with_command(plan.pack([execute(["a"], [])]), ["a"], [f"A={text}"])


@pytest.mark.parametrize(
    "many",
    [
        pytest.param([Op("SETSID", "")] * 4096 + [execute(["a"])], id="ops"),
        pytest.param([execute(["x" * (8 << 20)])], id="bytes"),
        pytest.param(
            [Op("JOIN_NS", "", fd=str(i)) for i in range(241)] + [execute(["a"])], id="fds"
        ),
    ],
)
def test_a_plan_that_the_executor_would_refuse_is_not_made(many: list[Op]) -> None:
    with pytest.raises(ShimError, match="plan too large: "):
        plan.pack(many)


def test_the_largest_plan_is_made() -> None:
    room = (8 << 20) - len(plan.pack([execute([""])]))
    assert len(plan.pack([execute(["x" * room])])) == 8 << 20
    with pytest.raises(ShimError, match="plan too large"):
        plan.pack([execute(["x" * (room + 1)])])


def model_environment(old: list[str], extra: list[str]) -> list[bytes]:
    """What is kept of the old one, in order, then the new ones; of equal new names the last."""
    last = {entry.split("=", 1)[0]: entry for entry in extra}
    kept = [entry for entry in old if entry.split("=", 1)[0] not in last]
    return [raw(entry) for entry in [*kept, *last.values()]]


@given(
    st.lists(ops, max_size=4),
    environments,
    st.lists(texts, min_size=1, max_size=4),
    environments,
)
@example([], ["A=1", "AB=2", "A=3"], ["/bin/sh"], ["A=4", "A=5"])
@example([], ["NOEQUALS", "=odd", "A=\udcff"], ["\udce9é"], ["A=", "é=ü"])
def test_with_command_changes_the_command_and_nothing_else(
    many: list[Op], env: list[str], argv: list[str], extra: list[str]
) -> None:
    blob = plan.pack([*many, execute(["/bin/old", "argument"], env)])
    before, after = unpack(blob), unpack(plan.with_command(blob, argv, extra))
    assert after[:-1] == before[:-1]
    assert after[-1].list == [raw(s) for s in argv]
    assert after[-1].list2 == model_environment(env, extra)
    before[-1].list, before[-1].list2 = after[-1].list, after[-1].list2
    assert after[-1] == before[-1]


@given(environments, environments)
def test_with_command_leaves_no_name_of_the_new_ones_twice(
    env: list[str], extra: list[str]
) -> None:
    record = unpack(plan.with_command(plan.pack([execute(["a"], env)]), ["a"], extra))[-1]
    assert record.list2 is not None
    found = [entry.split(b"=")[0] for entry in record.list2]
    for entry in extra:
        assert found.count(raw(entry).split(b"=")[0]) == 1


def test_with_command_can_be_repeated_on_the_same_plan() -> None:
    blob = plan.pack([execute(["old"], ["A=1"])])
    first = plan.with_command(blob, ["first"], ["B=1"])
    assert plan.with_command(blob, ["first"], ["B=1"]) == first
    again = unpack(plan.with_command(first, ["second"], ["A=2"]))[-1]
    assert (again.list, again.list2) == ([b"second"], [b"B=1", b"A=2"])


def test_with_command_works_on_a_plan_without_environment() -> None:
    record = unpack(plan.with_command(plan.pack([execute(["a"])]), ["b"], ["A=1"]))[-1]
    assert (record.list, record.list2) == ([b"b"], [b"A=1"])


def test_with_command_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShimError, match="argument list too long"):
        plan.with_command(plan.pack([execute(["a"])]), ["x" * (8 << 20)])


SAMPLE = [
    Op("RLIMIT", "RLIMIT_NOFILE 1024", "/process/rlimits/0", num=[7, 1024, 1024]),
    Op("JOIN_PIDFD", "join the container", fd="init"),
    Op("FORK", "enter the pid namespace"),
    Op("MOUNT_FS", "tmpfs on /tmp", "/mounts/2", str=["/tmp", "tmpfs"], list=["size=1x", "ro"]),
    Op("LOOKUP", "look up a-command"),
    execute(["a-command", "argument"], []),
]


@pytest.mark.parametrize(
    ("step", "errno", "detail", "kind", "message"),
    [
        (0, 1, 0, KernelError, "/process/rlimits/0: RLIMIT_NOFILE 1024: operation not permitted"),
        (1, 3, 0, NotRunningError, "container not running"),
        (1, 1, 0, KernelError, "join the container: operation not permitted"),
        (2, 12, 20, NotRunningError, "container not running"),
        (2, 11, 20, KernelError,
         "enter the pid namespace: fork (pids limit): resource temporarily unavailable"),
        (3, 22, 4 | 1 << 8, KernelError,
         "/mounts/2: tmpfs on /tmp: option 'size=1x': invalid argument"),
        (3, 22, 4 | 2 << 8, KernelError,
         "/mounts/2: tmpfs on /tmp: option 'ro': invalid argument"),
        (3, 22, 4 | 3 << 8, KernelError, "/mounts/2: tmpfs on /tmp: option: invalid argument"),
        (3, 22, 4, KernelError, "/mounts/2: tmpfs on /tmp: create: invalid argument"),
        (4, 2, 17, CommandNotFoundError,
         'exec: "a-command": executable file not found in $PATH'),
        (4, 13, 17, CannotInvokeError, 'exec: "a-command": permission denied'),
        (4, 2, 0, CommandNotFoundError, 'exec: "a-command": no such file or directory'),
        (5, 8, 0, CannotInvokeError, 'exec: "a-command": exec format error'),
        (6, 22, 22, KernelError, "step 6: malformed plan: invalid argument"),
    ],
)  # fmt: skip
def test_failure_says_what_happened(
    step: int, errno: int, detail: int, kind: type[ShimError], message: str
) -> None:
    error = plan.failure(SAMPLE, step, errno, detail)
    assert type(error) is kind
    assert str(error) == message


@given(
    st.sampled_from([SAMPLE, SAMPLE[:1], []]),
    st.integers(0, 0xFFFFFFFF) | st.integers(0, 6),
    st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(0, 140),
    st.integers(0, 0xFFFFFFFF)
    | st.integers(0, 30)
    | st.builds(lambda i: 4 | i << 8, st.integers(0, 4)),
)
def test_failure_makes_one_line_of_any_numbers(
    many: list[Op], step: int, errno: int, detail: int
) -> None:
    """The reporting process shares its socket with whatever the container may trace (EX-26)."""
    error = plan.failure(many, step, errno, detail)
    assert isinstance(error, ShimError)
    assert str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("step", range(len(SAMPLE)))
@pytest.mark.parametrize("detail", range(26))
def test_failure_never_loses_the_errno(step: int, detail: int) -> None:
    assert "text file busy" in str(plan.failure(SAMPLE, step, 26, detail))


def test_describe() -> None:
    """`shim explain` and the golden plans show these lines."""
    assert [op.describe() for op in SAMPLE] == [
        "rlimit         RLIMIT_NOFILE 1024  [/process/rlimits/0]",
        "join_pidfd     join the container",
        "fork           enter the pid namespace",
        "mount_fs       tmpfs on /tmp  [/mounts/2]",
        "lookup         look up a-command",
        "exec           execve a-command",
    ]
