"""csrc/plan.h and shim/model/plan.py are two descriptions of one format; neither may drift."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from shim.model import plan

REPO = Path(__file__).resolve().parents[2]
HEADER = (REPO / "csrc/plan.h").read_text()
EXECUTOR = "".join((REPO / "csrc" / name).read_text() for name in ("plan.c", "run.c"))

HEADER_FIELDS = ["magic", "version", "total", "nops", "ops_off", "data_off"]
OP_FIELDS = ["code", "flags", "fd", "num", "str", "list", "list2", "nums"]
MSG_FIELDS = ["type", "step", "err", "detail", "v"]


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def enum(name: str) -> dict[str, int]:
    found = re.search(rf"enum {name} {{(.*?)}};", without_comments(HEADER), re.DOTALL)
    assert found, f"no enum {name} in plan.h"
    pairs = re.findall(r"(\w+)\s*=\s*(\d+)\s*,", found[1])
    assert len(pairs) == found[1].count("="), f"enum {name} has a line this test cannot read"
    return {key: int(value) for key, value in pairs}


def defines() -> dict[str, str]:
    found = re.findall(r"^#define (\w+) (.+)$", without_comments(HEADER), re.MULTILINE)
    return {key: value.strip() for key, value in found}


def integer(text: str) -> int:
    """A C integer constant, or `(a << b)`."""
    number = r"(0x[0-9a-fA-F]+|\d+)u?"
    found = re.fullmatch(rf"\(?{number}(?: << {number})?\)?", text)
    assert found, f"not a constant this test can read: {text}"
    return int(found[1], 0) << int(found[2] or "0", 0)


def fields(struct_name: str) -> list[str]:
    found = re.search(rf"struct {struct_name} {{(.*?)}};", without_comments(HEADER), re.DOTALL)
    assert found, f"no struct {struct_name} in plan.h"
    return re.findall(r"\w+\s+(\w+)(?:\[\d+\])?;", found[1])


def test_op_codes() -> None:
    codes = {name.removeprefix("OP_"): value for name, value in enum("plan_code").items()}
    assert codes == plan.CODES
    assert len(set(codes.values())) == len(codes)


def test_every_op_code_is_known_to_the_interpreter_and_no_other_passes_the_check() -> None:
    cases = re.findall(r"case (OP_\w+): return op_\w+;", EXECUTOR)
    assert sorted(cases) == sorted(enum("plan_code"))
    ranges = re.findall(r"code >= (OP_\w+) && code <= (OP_\w+)", EXECUTOR)
    codes = enum("plan_code")
    passed = {n for low, high in ranges for n in range(codes[low], codes[high] + 1)}
    assert passed == set(codes.values())


def test_message_types() -> None:
    ours = {name: getattr(plan, name) for name in vars(plan) if re.fullmatch("MSG_[A-Z]+", name)}
    assert ours == enum("msg_type")


def test_details() -> None:
    details = enum("plan_detail")
    assert details.pop("D_NONE") == 0
    assert set(plan.DETAILS) == set(details.values()), "a detail without words"
    for name, value in vars(plan).items():
        if name.startswith("D_"):
            assert details[name] == value, name


def test_constants() -> None:
    values = defines()
    guard_and_macros = {"SHIM_PLAN_H", "D_INDEX(detail,"}
    prefixed = {"PLAN_MAGIC", "PLAN_VERSION", "PLAN_MAX_BYTES", "PLAN_MAX_OPS", "PLAN_MAX_FDS"}
    assert prefixed < set(values)
    for name in set(values) - guard_and_macros:
        if (ours := name.removeprefix("PLAN_") if name in prefixed else name) in vars(plan):
            assert getattr(plan, ours) == integer(values[name]), name
    unknown = {
        name for name in vars(plan) if re.match(r"(MOUNT|PIVOT|CHDIR|CONSOLE|BIND|MKNOD)_", name)
    }
    assert unknown <= set(values), "a flag that the executor does not know"


def test_flags_of_one_op_do_not_overlap() -> None:
    values = defines()
    for op in ("MOUNT", "CHDIR", "CONSOLE", "BIND"):
        flags = [integer(value) for name, value in values.items() if name.startswith(f"{op}_")]
        assert len(flags) > 1
        assert len(set(flags)) == len(flags), op
        assert all(flag.bit_count() == 1 for flag in flags), op


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """sizeof and offsetof of everything on the wire, from the compiler."""
    where = tmp_path_factory.mktemp("layout")
    structs = {"plan_header": HEADER_FIELDS, "plan_op": OP_FIELDS, "msg": MSG_FIELDS}
    lines = []
    for name, members in structs.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        for member in members:
            text = f'printf("{name}.{member} %zu\\n", offsetof(struct {name}, {member}));'
            lines.append(text)
    lines.append('printf("index %u\\n", D_INDEX(D_FSCONFIG, 7));')
    (where / "layout.c").write_text(
        '#include "plan.h"\n#include <stddef.h>\n#include <stdio.h>\n'
        "int main(void)\n{\n" + "\n".join(lines) + "\nreturn 0;\n}\n"
    )
    command = ["gcc", "-Wall", "-Wextra", "-Werror", f"-I{REPO}/csrc", "-o", f"{where}/layout"]
    subprocess.run([*command, f"{where}/layout.c"], check=True)
    output = subprocess.run([f"{where}/layout"], check=True, capture_output=True, text=True).stdout
    return {key: int(value) for key, value in (line.split() for line in output.splitlines())}


def test_struct_sizes(layout: dict[str, int]) -> None:
    assert layout["plan_header"] == plan.HEADER.size
    assert layout["plan_op"] == plan.RECORD.size
    assert layout["msg"] == plan.MSG.size


@pytest.mark.parametrize(
    ("struct_name", "members", "packed", "counts"),
    [
        ("plan_header", HEADER_FIELDS, plan.HEADER, [1, 1, 1, 1, 1, 1]),
        ("plan_op", OP_FIELDS, plan.RECORD, [1, 1, 1, 4, 3, 1, 1, 1]),
        ("msg", MSG_FIELDS, plan.MSG, [1, 1, 1, 1, 4]),
    ],
    ids=["header", "op", "message"],
)
def test_each_field_is_where_python_puts_it(
    layout: dict[str, int], struct_name: str, members: list[str], packed: object, counts: list[int]
) -> None:
    """Field by field: a record with only that field set has its only set bytes at offsetof."""
    assert isinstance(packed, type(plan.RECORD))
    assert fields(struct_name) == members
    at = 0
    for member, count in zip(members, counts, strict=True):
        values = [0] * sum(counts)
        values[at] = 1
        raw = packed.pack(*values)
        assert raw.index(1) == layout[f"{struct_name}.{member}"], member
        at += count


def test_detail_index_is_what_failure_takes_apart(layout: dict[str, int]) -> None:
    assert layout["index"] & 0xFF == plan.D_FSCONFIG
    assert layout["index"] >> 8 == 7
