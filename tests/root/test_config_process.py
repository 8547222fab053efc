"""config.json `process`: what the container's process, and one that joins it, is given."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from root.config_support import (
    exec_status,
    in_user_namespace,
    init_file,
    init_pid,
    refused,
    status_of,
    wait_stopped,
)
from support.runtime import Runtime


def test_args_are_passed_as_they_are(rt: Runtime) -> None:
    words = ["a b", "", "$HOME", "é\n", "*"]
    show = ["sh", "-c", 'for a; do echo "[$a]"; done >/shown; exec sleep 1000', "name", *words]
    shown = "[a b]\n[]\n[$HOME]\n[é\n]\n[*]\n"
    rt.running(*show)
    probe = rt.exec("c", "sh", "-c", 'for a; do echo "[$a]"; done', "name", *words)
    assert probe.out == shown
    assert (rt.rootfs / "shown").read_text() == shown


def test_ex_07_environment_is_the_configs_and_nothing_else(rt: Runtime) -> None:
    env = ["PATH=/bin", "A=1", "EMPTY=", "B=two words", "É=é", "A=2"]
    caller = {**os.environ, "SECRET": "x", "PYTHONPATH": "/nowhere", "LD_PRELOAD": "", "A": "3"}
    config = rt.config(process={"env": env})
    assert rt.create("c", rt.bundle_of(config), env=caller).code == 0
    assert rt.start("c", env=caller).code == 0
    found = init_file(rt, "environ").decode().split("\0")[:-1]
    env = ["PATH=/bin", "EMPTY=", "B=two words", "É=é", "A=2"]  # of two the last wins, as in runc
    assert [entry for entry in found if not entry.startswith("HOME=")] == env
    # HOME of /etc/passwd, as runc adds it
    assert "HOME=/root" in found
    joined = rt.output("c", "cat", "/proc/self/environ", flags=["-e", "B=three"], env=caller)
    kept = [entry for entry in env if not entry.startswith("B=")]
    assert sorted(joined.split("\0")[:-1]) == sorted([*kept, "B=three", "HOME=/root"])


def test_home_of_the_config_is_kept(rt: Runtime) -> None:
    rt.running(process={"env": ["PATH=/bin", "HOME=/somewhere"]})
    assert rt.output("c", "sh", "-c", "echo $HOME") == "/somewhere\n"
    other = rt.output("c", "sh", "-c", "echo $HOME", flags=["--user", "1000"])
    assert other == "/home\n"


def test_user_groups_and_umask(rt: Runtime) -> None:
    rt.running(
        process={"user": {"uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [7, 6, 7]}}
    )
    status = status_of(init_file(rt, "status").decode())
    assert status["Uid"] == "1000 1000 1000 1000"
    assert status["Gid"] == "1001 1001 1001 1001"
    assert status["Groups"] == "6 7 7"
    assert status["Umask"] == "0027"
    joined = exec_status(rt)
    assert {k: joined[k] for k in ("Uid", "Gid", "Groups", "Umask")} == {
        k: status[k] for k in ("Uid", "Gid", "Groups", "Umask")
    }


def test_umask_is_0022_whatever_the_callers_is(rt: Runtime) -> None:
    def odd() -> None:
        os.umask(0o137)

    assert rt.create("c", rt.bundle(), preexec_fn=odd).code == 0
    assert rt.start("c", preexec_fn=odd).code == 0
    assert status_of(init_file(rt, "status").decode())["Umask"] == "0022"
    assert (
        status_of(rt.exec("c", "cat", "/proc/self/status", preexec_fn=odd).out)["Umask"] == "0022"
    )
    # and what create itself makes does not depend on it
    assert oct((rt.rootfs / "dev").stat().st_mode & 0o777) == "0o755"


def test_no_supplementary_group_of_the_caller_is_left(rt: Runtime) -> None:
    rt.running()
    assert status_of(init_file(rt, "status").decode())["Groups"] == ""
    assert exec_status(rt)["Groups"] == ""


@pytest.mark.parametrize(
    ("flag", "uid", "gid"), [("1000", "1000", "33"), ("1000:44", "1000", "44"), ("0:0", "0", "0")]
)
def test_exec_user(rt: Runtime, flag: str, uid: str, gid: str) -> None:
    rt.running(process={"user": {"uid": 33, "gid": 33}})
    found = exec_status(rt, "c", "--user", flag)
    assert (found["Uid"].split()[0], found["Gid"].split()[0]) == (uid, gid)


def test_exec_additional_gids_are_added(rt: Runtime) -> None:
    rt.running(process={"user": {"uid": 0, "gid": 0, "additionalGids": [7]}})
    assert exec_status(rt, "c", "--additional-gids", "9", "-g", "8")["Groups"] == "7 8 9"


def test_ex_10_an_id_that_is_not_mapped_is_an_error_that_names_it(rt: Runtime) -> None:
    config = in_user_namespace(rt.config())
    config["process"]["user"] = {"uid": 70000, "gid": 0}
    line = refused(rt, config, "/process/user: uid 70000 gid 0")
    assert "invalid argument" in line


def test_cwd(rt: Runtime) -> None:
    (rt.rootfs / "srv/here").mkdir(parents=True)
    rt.running(process={"cwd": "/srv/here"})
    assert os.readlink(f"/proc/{init_pid(rt)}/cwd").endswith("/srv/here")
    assert rt.output("c", "pwd") == "/srv/here\n"
    assert rt.output("c", "pwd", flags=["--cwd", "/tmp"]) == "/tmp\n"


def test_ex_08_a_missing_cwd_is_made_by_create_and_refused_by_exec(rt: Runtime) -> None:
    rt.running(process={"cwd": "/made/by/shim"})
    assert rt.output("c", "pwd") == "/made/by/shim\n"
    assert (rt.rootfs / "made/by/shim").is_dir()
    result = rt.exec("c", "pwd", flags=["--cwd", "/not/there"])
    assert result.code == 125
    assert "/process/cwd" in result.line
    assert "no such file or directory" in result.line


def test_ex_08_a_cwd_only_root_may_enter_works_for_another_user(rt: Runtime) -> None:
    """Tried with root's rights before they are given up, as runc does."""
    (rt.rootfs / "private").mkdir(mode=0o700)
    rt.running(process={"cwd": "/private", "user": {"uid": 1000, "gid": 1000}})
    assert os.readlink(f"/proc/{init_pid(rt)}/cwd").endswith("/private")


def test_ex_08_a_cwd_only_the_user_may_enter_works(rt: Runtime) -> None:
    config = rt.config(process={"cwd": "/home/own", "user": {"uid": 1000, "gid": 1000}})
    own = rt.rootfs / "home/own"
    own.mkdir(mode=0o700)
    os.chown(own, 1000, 1000)
    config["process"]["capabilities"] = {}
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    assert rt.output("c", "pwd") == "/home/own\n"


def test_ex_08_a_cwd_that_root_may_not_enter_is_tried_as_the_user(rt: Runtime) -> None:
    """Its owner is not mapped, so root of the user namespace has no power over it, as on NFS with
    root_squash; the user's group has."""
    config = in_user_namespace(rt.config())
    config["process"].update(cwd="/squashed", user={"uid": 1000, "gid": 33})
    (rt.rootfs / "squashed").mkdir()
    os.chown(rt.rootfs / "squashed", 0, 100_033)
    (rt.rootfs / "squashed").chmod(0o070)
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    assert rt.output("c", "pwd") == "/squashed\n"


@pytest.mark.parametrize("path", ["/bin/busybox", "/loop"])
def test_ex_08_a_cwd_that_is_no_directory_is_refused(rt: Runtime, path: str) -> None:
    config = rt.config(process={"cwd": path})
    (rt.rootfs / "loop").symlink_to("loop")
    refused(rt, config, "/process/cwd: ")


def test_the_process_is_a_session_leader_without_a_terminal(rt: Runtime) -> None:
    """EX-15; fields 6 and 7 of proc_pid_stat(5), as seen in the container's pid namespace."""
    rt.running()
    for text in (rt.output("c", "cat", "/proc/1/stat"), rt.output("c", "cat", "/proc/self/stat")):
        pid = text.split()[0]
        session, terminal = text.rpartition(")")[2].split()[3:5]
        assert session == pid
        assert terminal == "0"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nonsense"], 'exec: "nonsense": executable file not found in $PATH'),
        (["/not/there"], 'exec: "/not/there": no such file or directory'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
        (["/bin"], 'exec: "/bin": permission denied'),
    ],
)
def test_a_command_that_cannot_run_is_refused_by_create(
    rt: Runtime, args: list[str], words: str
) -> None:
    """127 and 126 keep their meaning everywhere; nothing is left behind."""
    result = rt.create("bad", rt.bundle(*args))
    assert result.code == (126 if "permission" in words else 127)
    assert result.line == f'shim: cannot create "bad": {words}'
    assert rt.leaks() == []
    rt.running()
    assert rt.exec("c", *args).code == result.code


def test_path_of_the_process_is_searched_in_the_container(rt: Runtime) -> None:
    (rt.rootfs / "opt").mkdir()
    (rt.rootfs / "opt/tool").write_text("#!/bin/sh\necho from opt\n")
    (rt.rootfs / "opt/tool").chmod(0o755)
    rt.running(process={"env": ["PATH=relative::/nowhere:/opt:/bin"]})
    assert rt.output("c", "tool") == "from opt\n"


def test_init_ends_with_its_status(rt: Runtime) -> None:
    """What the kernel says of it is seen by whoever reaps: here only that it has stopped."""
    rt.running("sh", "-c", "echo done >/result; exit 3")
    wait_stopped(rt)
    assert rt.state("c")["status"] == "stopped"
    assert rt.state("c")["pid"] == 0
    assert (rt.rootfs / "result").read_text() == "done\n"


def test_later_edits_of_config_json_have_no_effect(rt: Runtime) -> None:
    """runtime-spec "Create" (OCI.md row 5), for start and for exec."""
    bundle = rt.bundle(process={"env": ["PATH=/bin", "WHICH=first"]})
    assert rt.create("c", bundle).code == 0
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["false"]
    config["process"]["env"] = ["PATH=/bin", "WHICH=second"]
    (bundle / "config.json").write_text(json.dumps(config))
    assert rt.start("c").code == 0
    assert rt.state("c")["status"] == "running"
    assert rt.output("c", "sh", "-c", "echo $WHICH") == "first\n"
    assert rt.output("c", "sh", "-c", "echo $WHICH", flags=["--cwd", "/tmp"]) == "first\n"


def test_exec_process_file(rt: Runtime) -> None:
    rt.running()
    file = rt.dir / "process.json"
    document = {
        "args": ["sh", "-c", "id -u; pwd; echo $X; exit 9"],
        "env": ["PATH=/bin", "X=y"],
        "cwd": "/tmp",
        "user": {"uid": 12, "gid": 13},
    }
    file.write_text(json.dumps(document))
    result = rt.exec("c", flags=["--process", str(file)])
    assert (result.code, result.out) == (9, "12\n/tmp\ny\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_exec_status_is_the_processs_own(rt: Runtime, command: str, code: int) -> None:
    rt.running()
    assert rt.exec("c", "sh", "-c", command).code == code


def test_exec_detached_returns_at_once_and_writes_the_pid(rt: Runtime) -> None:
    rt.running()
    file = rt.dir / "exec.pid"
    result = rt.exec("c", "sleep", "1000", flags=["--detach", "--pid-file", str(file)])
    assert result.code == 0
    pid = int(file.read_text())
    with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
        assert cmdline.read() == b"sleep\x001000\x00"
    with open(f"/proc/{pid}/cgroup") as cgroup:
        assert any(line.strip().endswith("/c0") for line in cgroup)


def test_ex_06_preserved_descriptors_and_no_other(rt: Runtime) -> None:
    """3 is passed, the caller's other ones are not; nothing of ours is."""
    read, write = os.pipe()
    high = os.dup2(read, 500)

    def hand_over() -> None:
        os.dup2(write, 3)
        for fd in (4, 9, 77):
            os.dup2(read, fd)

    passed: dict[str, Any] = {"preexec_fn": hand_over, "close_fds": False}
    try:
        for fd in (read, write, high):
            os.set_inheritable(fd, True)
        bundle = rt.bundle()
        assert rt.create("c", bundle, "--preserve-fds", "1", **passed).code == 0
        assert sorted(int(n) for n in os.listdir(f"/proc/{init_pid(rt)}/fd")) != []
        assert rt.start("c").code == 0
        assert sorted(int(n) for n in os.listdir(f"/proc/{init_pid(rt)}/fd")) == [0, 1, 2, 3]
        found = rt.output("c", "ls", "/proc/self/fd", flags=["--preserve-fds", "1"], **passed)
        # ls itself has the directory open
        assert found.split() == ["0", "1", "2", "3", "4"]
        assert rt.output("c", "ls", "/proc/self/fd", **passed).split() == ["0", "1", "2", "3"]
    finally:
        for fd in (read, write, high):
            os.close(fd)
