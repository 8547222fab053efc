"""The flags of create and exec that change what a process is given, and what engines read back."""

from __future__ import annotations

import json

import pytest
from root.config_support import init_pid
from support.runtime import Runtime


def test_pid_file(rt: Runtime) -> None:
    file = rt.dir / "pid"
    assert rt.create("c", rt.bundle(), "--pid-file", str(file)).code == 0
    assert file.read_text() == str(init_pid(rt))


def test_a_pid_file_that_cannot_be_written_undoes_the_create(rt: Runtime) -> None:
    result = rt.create("bad", rt.bundle(), "--pid-file", "/not/there/pid")
    assert result.code == 1
    assert "write pid file /not/there/pid: no such file or directory" in result.line
    assert rt.leaks() == []


def test_log_json_is_what_engines_read(rt: Runtime) -> None:
    log = rt.dir / "log.json"
    config = rt.config("nonsense")
    flags = ("--log", str(log), "--log-format", "json")
    result = rt.shim(*flags, "create", "-b", str(rt.bundle_of(config)), "bad")
    assert result.code == 127
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 1
    assert lines[0]["level"] == "error"
    assert "executable file not found in $PATH" in lines[0]["msg"]
    assert f"shim: {lines[0]['msg']}" == result.line


def test_no_pivot(rt: Runtime) -> None:
    """For a rootfs on the initramfs, where pivot_root(2) fails. The root is the container's all the
    same, for what joins too (EX-05)."""
    (rt.rootfs / "marker").write_text("inside")
    assert rt.create("c", rt.bundle(), "--no-pivot").code == 0
    assert rt.start("c").code == 0
    assert rt.output("c", "cat", "/marker") == "inside"
    assert rt.output("c", "ls", "/..") == rt.output("c", "ls", "/")


def session_keyrings(rt: Runtime, id: str, *flags: str) -> set[str]:
    """Descriptions of the session keyrings that a process of the container can see."""
    config = rt.config("sh", "-c", "cat /proc/keys >/keys; exec sleep 1000")
    config["linux"]["maskedPaths"] = []
    assert rt.create(id, rt.bundle_of(config), *flags).code == 0
    assert rt.start(id).code == 0
    joined = rt.output(id, "cat", "/proc/keys")
    found = []
    for text in ((rt.rootfs / "keys").read_text(), joined):
        lines = [line.split() for line in text.splitlines()]
        found.append({line[8].rstrip(":") for line in lines if line[7] == "keyring"})
    return {name for name in found[0] & found[1] if name.startswith("_ses")}


@pytest.mark.parametrize("id", ["c", "_hidden"])
def test_ex_14_a_session_keyring_of_its_own(rt: Runtime, id: str) -> None:
    """Made by create, joined by exec."""
    name = f"_ses.{id}"
    assert name in session_keyrings(rt, id)


def test_no_new_keyring(rt: Runtime) -> None:
    assert "_ses.other" not in session_keyrings(rt, "other", "--no-new-keyring")


@pytest.mark.parametrize("value", ["-1", "x", "1.5", ""])
def test_preserve_fds_is_a_number(rt: Runtime, value: str) -> None:
    result = rt.create("bad", rt.bundle(), "--preserve-fds", value)
    assert result.code == 2
    assert rt.leaks() == []


def test_preserve_fds_that_are_not_there(rt: Runtime) -> None:
    """What is promised to the process must be there; ours would be in its place otherwise."""
    words = "--preserve-fds 40: descriptor 3 is not open"
    result = rt.create("bad", rt.bundle(), "--preserve-fds", "40")
    assert (result.code, result.line) == (1, f'shim: cannot create "bad": {words}')
    assert rt.leaks() == []
    rt.running()
    result = rt.exec("c", "true", flags=["--preserve-fds", "40"])
    assert (result.code, result.line) == (125, f'shim: cannot exec "c": {words}')
