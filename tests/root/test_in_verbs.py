"""SECURITY.md IN-01..IN-16, CV-17 on the command line: what is refused leaves nothing behind, ends
with the right status, and says in one line what is wrong where.

The parser's own tests are unit/test_in_*.py; here the verbs are, with the real kernel below them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.runtime import Result, Runtime

BAD_IDS = {
    "in_01": ["", ".", "..", "a/b", "../../x", "/", "/etc", "../state", "./x"],
    "in_02": ["a b", "a\nb", "é", ";rm", "%s%n", "-x", ".hidden", "a\tb", "a\x7f", "$(id)", "a:b"],
    "in_03": ["x" * 129, "x" * 255, "x" * 4096],
}
IDS = [(row, id) for row, ids in BAD_IDS.items() for id in ids]

VERBS: dict[str, list[str]] = {
    "create": ["create", "--bundle", "BUNDLE", "ID"],
    "run": ["run", "--detach", "--bundle", "BUNDLE", "ID"],
    "start": ["start", "ID"],
    "state": ["state", "ID"],
    "kill": ["kill", "ID", "KILL"],
    "delete": ["delete", "ID"],
    "delete --force": ["delete", "--force", "ID"],
    "exec": ["exec", "ID", "true"],
    "ps": ["ps", "ID"],
    "pause": ["pause", "ID"],
    "resume": ["resume", "ID"],
    "events": ["events", "ID"],
    "hooks": ["hooks", "ID"],
    "describe": ["describe", "ID"],
    "logs": ["logs", "ID"],
    "stop": ["stop", "ID"],
    "wait": ["wait", "ID"],
}
READ_ONLY = (
    "unshare", "--mount", "--propagation", "private", "sh", "-c",
    'mount --bind / / && mount -o remount,bind,ro / && exec "$@"', "sh",
)  # fmt: skip
"""These tests erase directories when they fail (crun did): only /dev/shm can be written to."""


@pytest.fixture
def nested(rt: Runtime) -> Runtime:
    """A state root deep in directories with something to lose, and a container in it."""
    top = rt.dir / "top"
    (top / "keep").mkdir(parents=True)
    (top / "keep/file").touch()
    (top / "x").mkdir()
    rt.root = str(top / "middle/state")
    (top / "middle").mkdir()
    (top / "middle/file").touch()
    rt.running(id="other")
    return rt


def everything(rt: Runtime) -> set[str]:
    """All names below the scratch directory, but for locks and our own captured output."""
    return {
        os.path.join(path, name)
        for path, dirs, files in os.walk(rt.dir)
        for name in dirs + files
        if not name.startswith("stdio.") and ".locks" not in path
    }


@pytest.mark.parametrize("verb", VERBS)
def test_in_01_02_03_cv_17_an_id_is_checked_before_any_path_is_made(
    nested: Runtime, verb: str
) -> None:
    bundle = str(nested.bundle(linux={"cgroupsPath": f"{nested.cgroup}/bad"}))
    before = everything(nested)
    for row, id in IDS:
        if verb == "events" and not id:
            continue  # its id may be left out, but "" is none: see below
        argv = [bundle if w == "BUNDLE" else id if w == "ID" else w for w in VERBS[verb]]
        if id.startswith("-"):
            argv.insert(argv.index(id), "--")
        result = nested.shim(*argv, prefix=READ_ONLY)
        assert result.code not in (0, None), (row, verb, id, result)
        assert result.code == (125 if verb in ("run", "exec", "wait") else 1), (
            row,
            verb,
            id,
            result,
        )
        assert "invalid container ID format" in result.line, (row, verb, id)
        assert everything(nested) == before, (row, verb, id)
        assert nested.state("other")["status"] == "running"
    assert not os.path.exists(f"{nested.mount.path.rstrip('/')}{nested.cgroup}/bad")
    assert len(os.listdir(os.path.join(nested.root, ".locks"))) <= 1


def test_in_01_an_empty_id_is_not_a_missing_one(nested: Runtime) -> None:
    result = nested.shim("events", "")
    assert result.code == 1, result
    assert "invalid container ID format" in result.line


def test_in_03_the_longest_id_goes_all_the_way(rt: Runtime) -> None:
    """128 bytes: names of cgroup, key ring and socket included."""
    id = "x" * 128
    rt.running(id=id, linux={"cgroupsPath": None})
    assert rt.output(id, "echo", "fine") == "fine\n"
    assert rt.delete(id, "--force").code == 0


# -- config.json -----------------------------------------------------------------------------------

DEEP = "[" * 70 + "]" * 70


def text(rt: Runtime, **changes: Any) -> str:
    return json.dumps(rt.config(**changes))


def replaced(rt: Runtime, old: str, new: str) -> bytes:
    document = text(rt)
    assert old in document
    return document.replace(old, new, 1).encode()


def cases(rt: Runtime) -> dict[str, tuple[bytes, str]]:
    """Row and what is wrong -> (config.json, what the line must name)."""
    good = text(rt)
    process = {
        "in_05 uid": ({"user": {"uid": 2**32 - 1}}, "/process/user/uid"),
        "in_05 gid": ({"user": {"gid": 2**32 - 1}}, "/process/user/gid"),
        "in_05 groups": (
            {"user": {"additionalGids": [2**32 - 1]}},
            "/process/user/additionalGids/0",
        ),
        "in_06 negative": ({"user": {"uid": -1}}, "/process/user/uid"),
        "in_06 large": ({"user": {"uid": 2**32}}, "/process/user/uid"),
        "in_06 fraction": ({"user": {"uid": 1.5}}, "/process/user/uid"),
        "in_06 float": ({"user": {"uid": 1e3}}, "/process/user/uid"),
        "in_06 bool": ({"user": {"uid": True}}, "/process/user/uid"),
        "in_06 string": ({"user": {"uid": "0"}}, "/process/user/uid"),
        "in_12 arg": ({"args": ["sleep", "1\0"]}, "/process/args/1"),
        "in_12 env": ({"env": ["A=\0"]}, "/process/env/0"),
        "in_13 no =": ({"env": ["A"]}, "/process/env/0"),
        "in_13 no name": ({"env": ["PATH=/bin", "=x"]}, "/process/env/1"),
        "in_14 none": ({"args": []}, "/process/args"),
        "in_14 empty": ({"args": [""]}, "/process/args/0"),
        "in_14 string": ({"args": "sh"}, "/process/args"),
        "in_14 null": ({"args": [None]}, "/process/args/0"),
        "in_15 relative": ({"cwd": "tmp"}, "/process/cwd"),
        "in_15 empty": ({"cwd": ""}, "/process/cwd"),
        "in_16": (
            {"capabilities": {"bounding": ["CAP_NO_SUCH"]}},
            "/process/capabilities/bounding/0",
        ),
    }
    found = {
        row: (text(rt, process=change).encode(), pointer)
        for row, (change, pointer) in process.items()
    }
    found |= {
        "in_04 twice": (replaced(rt, '"args":', '"args": ["id"], "args":'), "/process/args"),
        "in_04 case": (replaced(rt, '"args":', '"Args": ["id"], "args":'), "/process/Args"),
        "in_07 garbage": (good.encode() + b"x", "config.json"),
        "in_07 two": (good.encode() * 2, "config.json"),
        "in_08 bom": (b"\xef\xbb\xbf" + good.encode(), "config.json"),
        "in_08 nul": (good.encode() + b"\0", "config.json"),
        "in_08 nan": (replaced(rt, '"uid": 0', '"uid": NaN'), "config.json"),
        "in_08 cut": (good.encode()[:-1], "config.json"),
        "in_08 empty": (b"", "config.json"),
        "in_08 null": (b"null", "config.json"),
        "in_08 list": (b"[]", "config.json"),
        "in_09": (
            replaced(rt, '"hostname": "shim"', '"hostname": "sh').replace(b'"sh', b'"sh\xff"', 1),
            "config.json",
        ),
        "in_10 deep": (
            replaced(
                rt,
                '"annotations"' if '"annotations"' in good else '"hostname"',
                f'"x": {DEEP}, "hostname"',
            ),
            "config.json",
        ),
        "in_10 very deep": (b"[" * 100_000, "config.json"),
        "in_11": (
            replaced(
                rt, '"hostname"', '"annotations": {"a": "%s"}, "hostname"' % ("x" * (5 << 20))
            ),
            "config.json",
        ),
    }
    return found


def refused(result: Result, verb: str, names: str, status: int) -> None:
    assert result.code == status, (names, result)
    assert result.line.startswith(f'shim: cannot {verb} "c": '), (names, result)
    assert "config.json" in result.line, (names, result)
    assert names in result.line, (names, result)
    assert len(result.line) < 500


@pytest.mark.parametrize("verb", ["create", "run"])
def test_in_04_to_16_a_wrong_config_leaves_nothing(rt: Runtime, verb: str) -> None:
    for row, (document, names) in cases(rt).items():
        bundle = rt.bundle_of(document)
        if verb == "create":
            refused(rt.create("c", bundle), "create", names, 1)
        else:
            refused(rt.shim("run", "--detach", "--bundle", str(bundle), "c"), "run", names, 125)
        assert rt.leaks() == [], row


def test_in_04_to_16_the_same_document_without_the_fault_runs(rt: Runtime) -> None:
    """What the table above changes is fine otherwise."""
    rt.running(id="c")
    assert len(cases(rt)) == 35


def test_in_04_to_16_process_files_of_exec(rt: Runtime) -> None:
    """`exec --process` reads as strictly; the container goes on."""
    id = rt.running(id="c")
    path = rt.dir / "process.json"
    good = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    path.write_text(json.dumps(good))
    assert rt.shim("exec", "--process", str(path), id).code == 0
    for change, names in (
        ({"user": {"uid": 2**32 - 1, "gid": 0}}, "/user/uid"),
        ({"user": {"uid": "0", "gid": 0}}, "/user/uid"),
        ({"args": []}, "/args"),
        ({"args": ["a\0b"]}, "/args/0"),
        ({"env": ["A"]}, "/env/0"),
        ({"cwd": "tmp"}, "/cwd"),
        ({"capabilities": {"bounding": ["CAP_NO_SUCH"]}}, "/capabilities/bounding/0"),
    ):
        path.write_text(json.dumps({**good, **change}))
        result = rt.shim("exec", "--process", str(path), id)
        assert result.code == 125, (names, result)
        assert "process.json" in result.line
        assert names in result.line
    assert rt.group.pids() == [rt.state(id)["pid"]]


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--user", "4294967295"), "--user"),
        (("--user", "0:4294967295"), "--user"),
        (("--user", "-1"), "--user"),
        (("--user", "1.5"), "--user"),
        (("--user", "1:2:3"), "--user"),
        (("--user", ""), "--user"),
        (("--additional-gids", "4294967295"), "--additional-gids"),
        (("--additional-gids", "wheel"), "--additional-gids"),
        (("--cap", "CAP_NO_SUCH"), "--cap"),
        (("--cap", "net_admin"), "--cap"),
        (("--cwd", "tmp"), "--cwd"),
        (("--env", "NOEQUALS"), "--env"),
        (("--env", "=x"), "--env"),
    ],
)
def test_in_05_13_15_16_flags_of_exec(rt: Runtime, flags: tuple[str, ...], names: str) -> None:
    result = rt.exec(rt.running(), "true", flags=flags)
    assert result.code in (2, 125), result
    assert names in result.err.splitlines()[0], result
    assert len(rt.group.pids()) == 1


def test_in_12_a_path_with_newline_stays_one_line(rt: Runtime) -> None:
    bundle = Path(rt.dir, "two\nlines")
    bundle.mkdir()
    result = rt.create("c", bundle)
    assert result.code == 1
    assert "config.json" in result.line
    assert rt.leaks() == []
