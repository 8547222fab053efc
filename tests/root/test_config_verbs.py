"""The OCI verbs on real containers: states, exit codes, the words that engines match, and what is
left when something fails (OCI.md 1.1 and 2)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from root.config_support import init_pid, wait_stopped
from support.runtime import Runtime

ANSWERS = ["state", "start", "kill", "delete", "pause", "resume", "ps", "exec"]


def words(verb: str, id: str) -> list[str]:
    return [verb, id, "true"] if verb == "exec" else [verb, id]


def frozen(rt: Runtime) -> str:
    return Path(rt.mount.path + rt.cgroup, "c0", "cgroup.freeze").read_text().strip()


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
