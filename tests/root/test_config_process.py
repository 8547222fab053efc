"""config.json `process`: what the container's process, and one that joins it, is given."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from root.config_support import (
    exec_status,
    in_user_namespace,
    init_file,
    init_pid,
    own_capabilities,
    refused,
    runc,
    status_of,
    wait_stopped,
)
from support.runtime import Runtime

IDENTITY = (
    "Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
)  # fmt: skip
SOME = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def identity(status: dict[str, str]) -> dict[str, str]:
    return {name: status[name] for name in IDENTITY}


def sets(*, every: list[str], **other: list[str]) -> dict[str, list[str]]:
    """bounding, permitted and effective are `every`; others as given."""
    return {**dict.fromkeys(("bounding", "permitted", "effective"), every), **other}


def capability_cases() -> dict[str, Any]:
    everything = own_capabilities()
    return {
        "absent": None,
        "none": sets(every=[]),
        "some": sets(every=SOME),
        "all": sets(every=everything),
        "ambient": sets(every=SOME, inheritable=SOME[:2], ambient=SOME[:2]),
        "ambient without inheritable": sets(every=SOME, ambient=SOME),
        "uneven": {
            "bounding": everything[:20],
            "permitted": SOME,
            "effective": SOME[:1],
            "inheritable": SOME[:1],
            "ambient": SOME[:1],
        },
    }


CASES = tuple(capability_cases())


@pytest.mark.parametrize("no_new_privileges", [False, True], ids=["may gain", "no new privileges"])
@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("case", CASES)
def test_ex_11_the_five_sets_are_runcs(
    rt: Runtime, case: str, uid: int, no_new_privileges: bool
) -> None:
    """Byte for byte, for init and for exec, beside ids and no_new_privs."""
    config = rt.config(
        process={
            "capabilities": capability_cases()[case],
            "user": {"uid": uid, "gid": uid, "additionalGids": [5, 20]},
            "noNewPrivileges": no_new_privileges,
        }
    )
    with runc(rt, config) as theirs:
        init = identity(status_of(theirs.init_file("status").decode()))
        joined = identity(status_of(theirs.output("cat", "/proc/self/status")))
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    assert identity(status_of(init_file(rt, "status").decode())) == init
    assert identity(exec_status(rt)) == joined


@pytest.mark.parametrize("uid", [0, 1000])
def test_cv_09_exec_inherits_no_capability_that_is_not_ambient(rt: Runtime, uid: int) -> None:
    """The one wanted difference to runc 1.1: a file with inheritable capabilities gains nothing
    from an exec (CVE-2022-29162)."""
    rt.running(
        process={
            "capabilities": sets(every=SOME, inheritable=SOME, ambient=SOME[:1]),
            "user": {"uid": uid, "gid": uid},
        }
    )
    ambient, bit = f"{1:016x}", 1 << 0
    assert exec_status(rt)["CapInh"] == ambient
    assert exec_status(rt)["CapAmb"] == ambient
    assert int(status_of(init_file(rt, "status").decode())["CapInh"], 16) & ~bit


def test_cv_09_exec_cap_adds_to_three_sets_only(rt: Runtime) -> None:
    rt.running(process={"capabilities": sets(every=["CAP_CHOWN"]), "noNewPrivileges": False})
    found = exec_status(rt, "c", "--cap", "CAP_KILL")
    assert (found["CapPrm"], found["CapEff"], found["CapBnd"]) == (f"{0x21:016x}",) * 3
    assert found["CapInh"] == found["CapAmb"] == f"{0:016x}"


def test_a_capability_that_cannot_be_granted_is_left_out(rt: Runtime) -> None:
    """config.md: "ungrantable" is no error. In a microVM or container root often lacks some."""
    rt.running(process={"capabilities": sets(every=["CAP_CHOWN", "CAP_SYS_RESOURCE"])})
    wanted = 1 | (1 << 24 if "CAP_SYS_RESOURCE" in own_capabilities() else 0)
    assert int(status_of(init_file(rt, "status").decode())["CapPrm"], 16) == wanted


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
    config["process"]["capabilities"] = sets(every=[])
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    assert rt.output("c", "pwd") == "/home/own\n"


@pytest.mark.parametrize("path", ["/bin/busybox", "/loop"])
def test_ex_08_a_cwd_that_is_no_directory_is_refused(rt: Runtime, path: str) -> None:
    config = rt.config(process={"cwd": path})
    (rt.rootfs / "loop").symlink_to("loop")
    refused(rt, config, "/process/cwd: ")


LIMITS = {
    "RLIMIT_CORE": "Max core file size", "RLIMIT_CPU": "Max cpu time",
    "RLIMIT_DATA": "Max data size", "RLIMIT_FSIZE": "Max file size",
    "RLIMIT_LOCKS": "Max file locks", "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_MSGQUEUE": "Max msgqueue size", "RLIMIT_NICE": "Max nice priority",
    "RLIMIT_NOFILE": "Max open files", "RLIMIT_NPROC": "Max processes",
    "RLIMIT_RSS": "Max resident set", "RLIMIT_RTPRIO": "Max realtime priority",
    "RLIMIT_RTTIME": "Max realtime timeout", "RLIMIT_SIGPENDING": "Max pending signals",
    "RLIMIT_STACK": "Max stack size",
}  # fmt: skip


def limits_of(text: str) -> dict[str, tuple[str, str]]:
    found = {}
    for line in text.splitlines()[1:]:
        soft, hard = line[26:].split()[:2]
        found[line[:26].strip()] = (soft, hard)
    return found


@pytest.mark.parametrize("user_namespace", [False, True], ids=["root", "user namespace"])
def test_rlimits(rt: Runtime, user_namespace: bool) -> None:
    """Lowered ones, all of them: to raise one takes CAP_SYS_RESOURCE."""
    mine = limits_of(Path("/proc/self/limits").read_text())
    wanted = {}
    for number, (name, label) in enumerate(LIMITS.items()):
        hard = mine[label][1]
        # above what the process itself needs, and each different
        top = (1 << 30) + number if hard == "unlimited" else min(int(hard), (1 << 30) + number)
        wanted[name] = (max(0, top - 1), top)
    rlimits = [{"type": name, "soft": s, "hard": h} for name, (s, h) in wanted.items()]
    config = rt.config(process={"rlimits": rlimits})
    if user_namespace:
        in_user_namespace(config)
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    expected = {LIMITS[name]: (str(s), str(h)) for name, (s, h) in wanted.items()}
    for text in (init_file(rt, "limits").decode(), rt.output("c", "cat", "/proc/self/limits")):
        found = limits_of(text)
        assert {label: found[label] for label in expected} == expected


def test_a_tiny_nofile_limit_is_no_obstacle_to_the_setup(rt: Runtime) -> None:
    """The plan's own descriptors are more than 4; the limit is the process's, not ours."""
    rt.running(process={"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4, "hard": 4}]})
    assert rt.output("c", "sh", "-c", "ulimit -n") == "4\n"


def test_without_rlimits_the_callers_are_inherited(rt: Runtime) -> None:
    rt.running()
    assert init_file(rt, "limits") == Path("/proc/self/limits").read_bytes()


def test_a_limit_that_may_not_be_raised_is_an_error_that_names_it(rt: Runtime) -> None:

    def low() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))

    rlimits = [{"type": "RLIMIT_NOFILE", "soft": 2000, "hard": 2000}]
    result = rt.create("c", rt.bundle(process={"rlimits": rlimits}), preexec_fn=low)
    if "CAP_SYS_RESOURCE" in own_capabilities():
        assert result.code == 0
        return
    assert result.code == 1
    assert "/process/rlimits/0" in result.line
    assert "operation not permitted" in result.line
    assert rt.leaks() == []


def test_no_new_privileges(rt: Runtime) -> None:
    rt.running(process={"noNewPrivileges": False})
    assert status_of(init_file(rt, "status").decode())["NoNewPrivs"] == "0"
    assert exec_status(rt)["NoNewPrivs"] == "0"
    assert exec_status(rt, "c", "--no-new-privs")["NoNewPrivs"] == "1"


@pytest.mark.parametrize("value", [0, 500, 1000])
def test_oom_score_adj(rt: Runtime, value: int) -> None:
    rt.running(process={"oomScoreAdj": value})
    assert init_file(rt, "oom_score_adj") == f"{value}\n".encode()
    assert rt.output("c", "cat", "/proc/self/oom_score_adj") == f"{value}\n"


def test_oom_score_adj_unset_is_not_changed(rt: Runtime) -> None:
    """config.md: MUST NOT change."""

    def odd() -> None:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("123")

    assert rt.create("c", rt.bundle(), preexec_fn=odd).code == 0
    assert init_file(rt, "oom_score_adj") == b"123\n"


def test_ex_25_signals_are_at_their_defaults(rt: Runtime) -> None:
    """Python ignores SIGPIPE, and execve(2) keeps what is ignored."""
    rt.running()
    for status in (status_of(init_file(rt, "status").decode()), exec_status(rt)):
        assert {status[name] for name in ("SigBlk", "SigIgn")} == {f"{0:016x}"}


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
