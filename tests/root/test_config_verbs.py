"""The OCI verbs on real containers: states, exit codes, the words that engines match, and what is
left when something fails (OCI.md 1.1 and 2)."""

from __future__ import annotations

import copy
import json
import os
import select
import signal
from pathlib import Path
from typing import Any

import pytest
from root.config_support import init_pid, refused, status_of, wait_stopped
from support.runtime import Runtime

ANSWERS = ["state", "start", "kill", "delete", "pause", "resume", "ps", "exec"]


def words(verb: str, id: str) -> list[str]:
    return [verb, id, "true"] if verb == "exec" else [verb, id]


def frozen(rt: Runtime) -> str:
    return Path(rt.mount.path + rt.cgroup, "c0", "cgroup.freeze").read_text().strip()


# -- states ----------------------------------------------------------------------------------------


def test_the_life_of_a_container(rt: Runtime) -> None:
    bundle = rt.bundle(annotations={"a": "b", "org.example/x": ""})
    assert rt.create("c", bundle).code == 0
    created = rt.state("c")
    assert created["status"] == "created"
    assert created["ociVersion"] == "1.3.0"
    assert created["id"] == "c"
    assert created["bundle"] == str(bundle)
    assert created["rootfs"] == str(rt.rootfs)
    assert created["annotations"] == {"a": "b", "org.example/x": ""}
    assert created["lifecycle"] is None
    pid = created["pid"]
    # it is set up, waiting, and is not yet the user's process
    assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:")
    assert rt.start("c").code == 0
    running = rt.state("c")
    assert (running["status"], running["pid"]) == ("running", pid)
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    assert rt.kill("c", "KILL").code == 0
    wait_stopped(rt)
    stopped = rt.state("c")
    assert (stopped["status"], stopped["pid"]) == ("stopped", 0)
    assert rt.delete("c").code == 0
    assert rt.leaks() == []
    gone = rt.shim("state", "c")
    assert (gone.code, gone.line) == (1, 'shim: cannot state "c": container does not exist')


def test_the_id_may_be_used_again(rt: Runtime) -> None:
    for _ in range(2):
        rt.running()
        assert rt.delete("c", "--force").code == 0
    assert rt.leaks() == []


def test_an_id_that_is_taken(rt: Runtime) -> None:
    rt.running()
    result = rt.create("c", rt.bundle())
    assert result.code == 1
    assert result.line == 'shim: cannot create "c": container with given ID already exists'
    assert rt.state("c")["status"] == "running"
    assert not Path(rt.mount.path + rt.cgroup, "c1").exists()


@pytest.mark.parametrize("verb", ANSWERS)
def test_a_container_that_is_not_there(rt: Runtime, verb: str) -> None:
    result = rt.shim(*words(verb, "nobody"))
    assert result.code == (125 if verb == "exec" else 1)
    assert result.line == f'shim: cannot {verb} "nobody": container does not exist'
    assert not Path(rt.root).exists()


def test_delete_force_of_a_container_that_is_not_there_is_content(rt: Runtime) -> None:
    """containerd and podman both rely on it."""
    result = rt.delete("nobody", "--force")
    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.parametrize("verb", ["state", "kill", "delete", "exec", "create", "start", "pause"])
@pytest.mark.parametrize("id", [".", "..", "a/b", "-", "x" * 129, "a\nb", ""])
def test_cv_17_an_id_is_checked_by_every_verb(rt: Runtime, verb: str, id: str) -> None:
    sentinel = rt.dir / "sentinel"
    sentinel.touch()
    Path(rt.root).mkdir(0o700)
    flags = ["--force"] if verb == "delete" else []
    result = rt.shim(verb, *flags, "--", id, *(["true"] if verb == "exec" else []))
    assert result.code in (1, 2, 125)
    assert sentinel.exists()
    assert os.listdir(rt.root) == []


REFUSALS: dict[str, tuple[str, str, str]] = {
    # state, verb: words of runc
    "start running": ("running", "start", "cannot start an already running container"),
    "start stopped": ("stopped", "start", "cannot start a container that has stopped"),
    "kill stopped": ("stopped", "kill", "container not running"),
    "delete running": ("running", "delete", "cannot delete container that is not stopped: running"),
    "exec stopped": ("stopped", "exec", "container not running"),
    "exec paused": ("paused", "exec", "cannot exec in a paused container"),
    "pause stopped": ("stopped", "pause", "container not running"),
    "pause paused": ("paused", "pause", "container not running"),
    "resume running": ("running", "resume", "container not paused"),
    "resume stopped": ("stopped", "resume", "container not paused"),
    "start paused": ("paused", "start", "cannot start a container in the paused state"),
    "delete paused": ("paused", "delete", "cannot delete container that is not stopped: paused"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_verb_that_the_state_forbids(rt: Runtime, name: str) -> None:
    """An error changes nothing (runtime-spec, "Errors")."""
    state, verb, expected = REFUSALS[name]
    rt.running()
    if state == "stopped":
        assert rt.kill("c", "KILL").code == 0
        wait_stopped(rt)
    elif state == "paused":
        assert rt.shim("pause", "c").code == 0
    before = rt.state("c")
    result = rt.shim(*words(verb, "c"))
    assert result.code == (125 if verb == "exec" else 1)
    assert expected in result.line
    assert result.line.startswith(f'shim: cannot {verb} "c": ')
    assert rt.state("c") == before


def test_a_created_container_may_be_deleted_as_with_runc(rt: Runtime) -> None:
    assert rt.create("c", rt.bundle()).code == 0
    pid = init_pid(rt)
    assert rt.delete("c").code == 0
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    assert rt.leaks() == []


def test_a_created_container_can_be_killed(rt: Runtime) -> None:
    assert rt.create("c", rt.bundle()).code == 0
    assert rt.kill("c", "KILL").code == 0
    wait_stopped(rt)
    assert rt.state("c")["status"] == "stopped"


def test_exec_into_a_created_container(rt: Runtime) -> None:
    assert rt.create("c", rt.bundle()).code == 0
    assert rt.output("c", "echo", "inside") == "inside\n"
    assert rt.state("c")["status"] == "created"


# -- kill ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("TERM", "TERM"), ("SIGTERM", "TERM"), ("sigterm", "TERM"), ("15", "TERM"), ("HUP", "HUP"),
        ("10", "USR1"),
    ],
)  # fmt: skip
def test_kill_by_name_and_number(rt: Runtime, given: str, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    rt.running("sh", "-c", "trap 'echo got >/got; exit 0' " + name + "; mkfifo /f; read x </f")
    pid = init_pid(rt)
    # the trap is set once the fifo is there
    while not (rt.rootfs / "f").exists():
        assert Path(f"/proc/{pid}").exists()
    caught = int(status_of(Path(f"/proc/{pid}/status").read_text())["SigCgt"], 16)
    assert caught >> (number - 1) & 1
    assert rt.kill("c", given).code == 0
    wait_stopped(rt)
    assert (rt.rootfs / "got").read_text() == "got\n"


def test_kill_without_a_signal_is_sigterm(rt: Runtime) -> None:
    rt.running("sh", "-c", "trap 'echo got >/got; exit 0' TERM; mkfifo /f; read x </f")
    while not (rt.rootfs / "f").exists():
        assert Path(f"/proc/{init_pid(rt)}").exists()
    assert rt.shim("kill", "c").code == 0
    wait_stopped(rt)
    assert (rt.rootfs / "got").exists()


@pytest.mark.parametrize("given", ["NOSUCH", "0x9", "-9", "99", ""])
def test_kill_with_a_signal_that_does_not_exist(rt: Runtime, given: str) -> None:
    rt.running()
    result = rt.shim("kill", "c", "--", given) if given == "-9" else rt.shim("kill", "c", given)
    if given:
        assert result.code in (1, 2)
        assert rt.state("c")["status"] == "running"


def test_kill_zero_only_asks(rt: Runtime) -> None:
    rt.running()
    assert rt.kill("c", "0").code == 0
    assert rt.state("c")["status"] == "running"


def test_kill_all_reaches_every_process(rt: Runtime) -> None:
    """Processes that init does not know of, too: those of exec."""
    rt.running()
    file = rt.dir / "pid"
    assert rt.exec("c", "sleep", "500", flags=["-d", "--pid-file", str(file)]).code == 0
    pid = int(file.read_text())
    pidfd = os.pidfd_open(pid)
    assert rt.kill("c", "TERM", "--all").code == 0
    assert select.select([pidfd], [], [], 5)[0]
    os.close(pidfd)
    # pid 1 of a pid namespace has no handler for TERM: it lives (pid_namespaces(7))
    assert rt.state("c")["status"] == "running"


def test_kill_all_of_a_stopped_container_is_content(rt: Runtime) -> None:
    """containerd's shim does it after init has ended, with its pid namespace shared."""
    rt.running("true")
    wait_stopped(rt)
    assert rt.kill("c", "KILL", "--all").code == 0


def test_kill_of_a_paused_container(rt: Runtime) -> None:
    """The freezer of cgroup v2 lets SIGKILL through (cgroup-v2.rst)."""
    rt.running()
    assert rt.shim("pause", "c").code == 0
    assert rt.kill("c", "KILL").code == 0
    wait_stopped(rt)
    assert rt.state("c")["status"] == "stopped"
    assert rt.delete("c").code == 0


# -- delete ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["created", "running", "paused", "stopped"])
def test_delete_force_in_every_state(rt: Runtime, state: str) -> None:
    assert rt.create("c", rt.bundle()).code == 0
    if state != "created":
        assert rt.start("c").code == 0
    if state == "paused":
        assert rt.shim("pause", "c").code == 0
    if state == "stopped":
        assert rt.kill("c", "KILL").code == 0
        wait_stopped(rt)
    assert rt.state("c")["status"] == state
    result = rt.delete("c", "--force")
    assert (result.code, result.err) == (0, "")
    assert rt.leaks() == []


def test_delete_ends_what_exec_started(rt: Runtime) -> None:
    """Without a pid namespace of its own init's end ends nobody else."""
    config = rt.config("true")
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
    config["process"]["args"] = ["sh", "-c", "sleep 1000 & sleep 1000 & exit 0"]
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    wait_stopped(rt)
    listed = json.loads(rt.shim("ps", "-f", "json", "c").out)
    assert len(listed) == 2
    assert rt.delete("c").code == 0
    assert rt.leaks() == []


# -- pause, resume, ps, list -----------------------------------------------------------------------


def test_pause_and_resume(rt: Runtime) -> None:
    rt.running("sh", "-c", "while :; do echo x >>/tick; read -t 0.01 y </dev/zero || :; done")
    assert rt.shim("pause", "c").code == 0
    assert rt.state("c")["status"] == "paused"
    assert frozen(rt) == "1"
    size = (rt.rootfs / "tick").stat().st_size
    # one more verb's worth of time, in which nothing may be written
    assert rt.shim("list").code == 0
    assert (rt.rootfs / "tick").stat().st_size == size
    assert rt.shim("resume", "c").code == 0
    assert rt.state("c")["status"] == "running"
    assert frozen(rt) == "0"


def test_exec_in_a_paused_container_with_ignore_paused(rt: Runtime) -> None:
    """It is born frozen and goes on with the rest."""
    rt.running()
    assert rt.shim("pause", "c").code == 0
    waiting = rt.spawn("exec", "--ignore-paused", "c", "true")
    assert waiting.poll() is None
    assert rt.shim("resume", "c").code == 0
    assert waiting.wait(10) == 0


def test_ps(rt: Runtime) -> None:
    rt.running()
    assert rt.exec("c", "sleep", "500", flags=["-d"]).code == 0
    listed = rt.shim("ps", "--format", "json", "c")
    assert listed.code == 0
    pids = json.loads(listed.out)
    assert init_pid(rt) in pids
    assert len(pids) == 2
    table = rt.shim("ps", "c").out
    assert "sleep" in table
    assert all(str(pid) in table for pid in pids)


def test_list(rt: Runtime) -> None:
    assert rt.shim("list", "-q").out == ""
    assert json.loads(rt.shim("list", "-f", "json").out) == []
    rt.running(id="one")
    rt.running(id="two")
    assert rt.kill("two", "KILL").code == 0
    wait_stopped(rt, "two")
    assert rt.shim("list", "--quiet").out == "one\ntwo\n"
    found = {entry["id"]: entry for entry in json.loads(rt.shim("list", "-f", "json").out)}
    assert found["one"]["status"] == "running"
    assert found["one"] == rt.state("one")
    assert found["two"]["status"] == "stopped"
    table = rt.shim("list").out.splitlines()
    assert table[0].split()[:3] == ["ID", "PID", "STATUS"]
    assert len(table) == 3


def test_spec_makes_a_bundle_that_runs(rt: Runtime) -> None:
    bundle = rt.dir / "made"
    bundle.mkdir()
    assert rt.shim("spec", "--bundle", str(bundle)).code == 0
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = ["sleep", "100"]
    config["linux"]["cgroupsPath"] = f"{rt.cgroup}/spec"
    (bundle / "config.json").write_text(json.dumps(config))
    (bundle / "rootfs").symlink_to(rt.rootfs)
    assert rt.create("c", bundle).code == 0
    assert rt.start("c").code == 0
    assert rt.output("c", "hostname") == "shim\n"
    again = rt.shim("spec", "--bundle", str(bundle))
    assert again.code == 1
    assert "file exists" in again.line


def test_the_document_of_runc_spec_runs(rt: Runtime) -> None:
    """As runc wrote it, but for the terminal: what everybody has lying about."""
    golden = Path(__file__).resolve().parents[1] / "golden" / "runc-1.1-spec.json"
    config = json.loads(golden.read_text())
    config["process"].update(terminal=False, args=["sleep", "100"])
    config["root"]["path"] = str(rt.rootfs)
    config["linux"]["cgroupsPath"] = f"{rt.cgroup}/runc"
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    assert rt.output("c", "hostname") == "runc\n"
    assert "Read-only" in rt.exec("c", "touch", "/x").err


def test_features_needs_nothing(rt: Runtime) -> None:
    document = json.loads(rt.shim("features").out)
    assert document["ociVersionMax"] == "1.3.0"
    assert not Path(rt.root).exists()


def test_explain_does_nothing(rt: Runtime) -> None:
    result = rt.shim("explain", "--bundle", str(rt.bundle()))
    assert result.code == 0
    assert "exec           execute sleep  [/process/args]" in result.out
    assert rt.leaks() == []
    assert not Path(rt.root).exists()


# -- pid file, log ---------------------------------------------------------------------------------


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


# -- what is not honoured yet ----------------------------------------------------------------------

UNSUPPORTED: dict[str, tuple[str, Any]] = {
    "seccomp": ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}),
    "prestart": ("/hooks/prestart", [{"path": "/bin/true"}]),
    "createRuntime": ("/hooks/createRuntime", [{"path": "/bin/true"}]),
    "createContainer": ("/hooks/createContainer", [{"path": "/bin/true"}]),
    "startContainer": ("/hooks/startContainer", [{"path": "/bin/true"}]),
    "poststart": ("/hooks/poststart", [{"path": "/bin/true"}]),
    "poststop": ("/hooks/poststop", [{"path": "/bin/true"}]),
    "apparmorProfile": ("/process/apparmorProfile", "docker-default"),
    "selinuxLabel": ("/process/selinuxLabel", "a:b:c:s0"),
    "scheduler": ("/process/scheduler", {"policy": "SCHED_BATCH"}),
    "ioPriority": ("/process/ioPriority", {"class": "IOPRIO_CLASS_IDLE"}),
    "execCPUAffinity": ("/process/execCPUAffinity", {"initial": "0"}),
    "mountLabel": ("/linux/mountLabel", "a:b:c:s0"),
    "intelRdt": ("/linux/intelRdt", {"closID": "x"}),
    "personality": ("/linux/personality", {"domain": "LINUX32"}),
    "netDevices": ("/linux/netDevices", {"eth0": {}}),
    "memoryPolicy": ("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0"}),
    "rdma": ("/linux/resources/rdma", {"mlx5_1": {"hcaHandles": 3}}),
    "idmap": ("/mounts/0/uidMappings", [{"containerID": 0, "hostID": 1, "size": 1}]),
    "vm": ("/vm", {"kernel": {"path": "/k"}}),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_field_that_is_not_honoured_is_refused_by_name(rt: Runtime, name: str) -> None:
    pointer, value = UNSUPPORTED[name]
    config = copy.deepcopy(rt.config())
    *parents, last = pointer.split("/")[1:]
    node: Any = config
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[last] = value
    line = refused(rt, config, f"config.json: {pointer}")
    assert "not supported" in line


def test_rows_10_unknown_properties_are_ignored(rt: Runtime) -> None:
    """runtime-spec: MUST NOT error on a property it does not know."""
    config = rt.config()
    config["x-mine"] = {"a": 1}
    config["linux"]["tomorrow"] = True
    config["process"]["later"] = []
    assert rt.create("c", rt.bundle_of(config)).code == 0


FLAGS = {
    "--systemd-cgroup": ["--systemd-cgroup"],
    "--rootless true": ["--rootless", "true"],
    "--cgroup-manager systemd": ["--cgroup-manager", "systemd"],
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_that_is_not_honoured_is_refused_by_name(rt: Runtime, name: str) -> None:
    result = rt.shim(*FLAGS[name], "list")
    assert result.code == 1
    assert name in result.line
    assert "not supported by this version" in result.line


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_verbs_that_are_not_there_say_so(rt: Runtime, verb: str) -> None:
    """podman probes `checkpoint --help`: exit status 0 would mean that it works."""
    for argv in ([verb, "--help"], [verb, "c"]):
        result = rt.shim(*argv)
        assert result.code == 1
        assert "not supported" in result.err


# -- create's other flags --------------------------------------------------------------------------


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
