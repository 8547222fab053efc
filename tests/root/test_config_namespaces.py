"""config.json `linux.namespaces` and what lives in them: id maps, host name, sysctls, offsets."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from root.config_support import in_user_namespace, init_file, init_pid, mounts, refused, status_of
from support.runtime import Runtime

from shim.bundle.spec import parse
from shim.engine.create import write_id_maps
from shim.errors import KernelError

FILES = {
    "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup",
    "user": "user", "time": "time",
}  # fmt: skip


def namespaces_of(pid: int | str) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{name}") for kind, name in FILES.items()}


def with_namespaces(rt: Runtime, *entries: Any, **changes: Any) -> dict[str, Any]:
    """A config with exactly these namespaces and the mount namespace."""
    config = rt.config(hostname=None, **changes)
    wanted = [{"type": e} if isinstance(e, str) else e for e in (*entries, "mount")]
    config["linux"]["namespaces"] = wanted
    return config


def running(rt: Runtime, config: dict[str, Any], id: str = "c") -> int:
    result = rt.create(id, rt.bundle_of(config))
    assert result.code == 0, result
    assert rt.start(id).code == 0
    return init_pid(rt, id)


@contextmanager
def holder(*flags: str) -> Iterator[int]:
    """A process in new namespaces of its own, that holds them."""
    process = subprocess.Popen(
        ["unshare", *flags, "sh", "-c", "echo ready; exec sleep 1000"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "pid", "time"])
def test_a_new_namespace_of_each_type_and_of_no_other(rt: Runtime, kind: str) -> None:
    pid = running(rt, with_namespaces(rt, kind))
    ours, theirs = namespaces_of("self"), namespaces_of(pid)
    assert {name for name in FILES if ours[name] != theirs[name]} == {kind, "mount"}


def test_all_of_them_at_once_and_exec_joins_every_one(rt: Runtime) -> None:
    config = in_user_namespace(with_namespaces(rt, *(set(FILES) - {"user", "mount"})))
    pid = running(rt, config)
    ours, theirs = namespaces_of("self"), namespaces_of(pid)
    assert all(ours[name] != theirs[name] for name in FILES)
    file = rt.dir / "pid"
    assert rt.exec("c", "sleep", "100", flags=["-d", "--pid-file", str(file)]).code == 0
    assert namespaces_of(int(file.read_text())) == theirs


JOINED = {"network": "-n", "ipc": "-i", "uts": "-u", "cgroup": "-C"}


@pytest.mark.parametrize("kind", JOINED)
def test_a_namespace_joined_by_path(rt: Runtime, kind: str) -> None:
    with holder(JOINED[kind]) as other:
        path = f"/proc/{other}/ns/{FILES[kind]}"
        pid = running(rt, with_namespaces(rt, {"type": kind, "path": path}))
        assert namespaces_of(pid)[kind] == namespaces_of(other)[kind]
        assert rt.state("c")["status"] == "running"
        joined = rt.output("c", "readlink", f"/proc/self/ns/{FILES[kind]}")
        assert joined.strip() == namespaces_of(other)[kind]
        assert rt.kill("c", "KILL").code == 0


def test_a_pid_namespace_joined_by_path(rt: Runtime) -> None:
    """Another container's, as in a pod that shares it: its end is not the other's."""
    first = running(rt, with_namespaces(rt, "pid"), "first")
    path = f"/proc/{first}/ns/pid"
    second = running(rt, with_namespaces(rt, {"type": "pid", "path": path}), "second")
    assert namespaces_of(second)["pid"] == namespaces_of(first)["pid"]
    assert rt.output("second", "cat", "/proc/1/comm") == "sleep\n"
    assert rt.kill("second", "KILL").code == 0
    assert rt.delete("second", "--force").code == 0
    assert rt.state("first")["status"] == "running"


def test_a_user_namespace_joined_by_path(rt: Runtime) -> None:
    """With the network namespace it owns, as podman does for a pod."""
    config = in_user_namespace(with_namespaces(rt, "pid", "ipc", "network"))
    first = running(rt, config, "first")
    entries = [
        {"type": kind, "path": f"/proc/{first}/ns/{FILES[kind]}"} for kind in ("user", "network")
    ]
    second = running(rt, with_namespaces(rt, "pid", "ipc", *entries), "second")
    for kind in ("user", "network"):
        assert namespaces_of(second)[kind] == namespaces_of(first)[kind]
    assert status_of(init_file(rt, "status", "second").decode())["Uid"].split()[0] == "100000"
    assert rt.output("second", "id", "-u") == "0\n"


def test_a_path_of_the_wrong_type_is_named(rt: Runtime) -> None:
    config = with_namespaces(rt, {"type": "ipc", "path": "/proc/self/ns/net"})
    refused(rt, config, "config.json: /linux/namespaces/0/path: /proc/self/ns/net: not a ipc")


@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/null", "/"])
def test_ex_30_a_path_that_is_no_namespace_is_named(rt: Runtime, path: str) -> None:
    config = with_namespaces(rt, {"type": "network", "path": path})
    refused(rt, config, f"/linux/namespaces/0/path: {path}: not a network namespace")


def test_ex_30_a_path_that_blocks_is_not_waited_for(rt: Runtime) -> None:
    fifo = rt.dir / "fifo"
    os.mkfifo(fifo)
    config = with_namespaces(rt, {"type": "network", "path": str(fifo)})
    refused(rt, config, "not a network namespace")


def test_a_path_that_is_not_there(rt: Runtime) -> None:
    config = with_namespaces(rt, {"type": "network", "path": "/run/netns/none"})
    refused(rt, config, "/linux/namespaces/0/path: /run/netns/none: no such file or directory")


# -- user namespaces -------------------------------------------------------------------------------


def test_id_maps(rt: Runtime) -> None:
    config = in_user_namespace(rt.config())
    config["linux"]["uidMappings"] = [
        {"containerID": 0, "hostID": 100_000, "size": 1000},
        {"containerID": 1000, "hostID": 5000, "size": 1},
    ]
    config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 200_000, "size": 65536}]
    config["process"]["user"] = {"uid": 1000, "gid": 33, "additionalGids": [44]}
    pid = running(rt, config)
    fields = [line.split() for line in Path(f"/proc/{pid}/uid_map").read_text().splitlines()]
    assert fields == [["0", "100000", "1000"], ["1000", "5000", "1"]]
    assert Path(f"/proc/{pid}/gid_map").read_text().split() == ["0", "200000", "65536"]
    status = status_of(init_file(rt, "status").decode())
    assert status["Uid"].split() == ["5000"] * 4
    assert status["Gid"].split() == ["200033"] * 4
    assert status["Groups"] == "200044"
    assert rt.output("c", "sh", "-c", "id -u; id -g; id -G") == "1000\n33\n33 44\n"


def test_a_user_namespace_owns_what_is_new(rt: Runtime) -> None:
    """Root inside has its capabilities over the other namespaces, and none outside."""
    config = in_user_namespace(rt.config())
    caps = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN"]
    config["process"]["capabilities"] = dict.fromkeys(("bounding", "permitted", "effective"), caps)
    running(rt, config)
    rt.output("c", "hostname", "changed")
    rt.output("c", "ip", "link", "set", "lo", "down")
    rt.output("c", "mount", "-t", "tmpfs", "t", "/tmp")
    assert rt.exec("c", "mknod", "/tmp/n", "b", "8", "0").code != 0
    found = mounts(rt)
    assert found["/proc"]["type"] == "proc"
    assert found["/sys"]["type"] == "sysfs"
    assert found["/dev/mqueue"]["type"] == "mqueue"
    assert found["/dev/null"]["root"].endswith("/null")  # bound: mknod is not allowed


def test_a_map_the_kernel_refuses_is_an_error_of_its_field(rt: Runtime) -> None:
    """A map is written once: ours was long ago (user_namespaces(7))."""
    spec = parse(json.dumps(in_user_namespace(rt.config())).encode())
    with pytest.raises(KernelError, match=r"/linux/uidMappings: write uid_map: operation not perm"):
        write_id_maps(os.getpid(), spec)


# -- what lives in them ----------------------------------------------------------------------------


def test_hostname_and_domainname(rt: Runtime) -> None:
    before = Path("/proc/sys/kernel/hostname").read_text()
    rt.running(hostname="box-1", domainname="example.org")
    assert rt.output("c", "hostname") == "box-1\n"
    assert rt.output("c", "cat", "/proc/sys/kernel/domainname") == "example.org\n"
    assert Path("/proc/sys/kernel/hostname").read_text() == before


@pytest.mark.parametrize("field", ["hostname", "domainname"])
def test_a_name_needs_a_uts_namespace(rt: Runtime, field: str) -> None:
    config = with_namespaces(rt, "ipc")
    config[field] = "box"
    refused(rt, config, f"config.json: /{field}: needs a uts namespace")


def test_sysctl(rt: Runtime) -> None:
    sysctl = {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.ping_group_range": "0 100",
        "net/ipv4/conf/lo/forwarding": "1",
        "kernel.msgmax": "12345",
        "kernel.shm_rmid_forced": "1",
        "fs.mqueue.msg_max": "7",
    }
    before = {key: _sysctl("/proc/sys", key) for key in sysctl}
    rt.running(linux={"sysctl": sysctl})
    for key, value in sysctl.items():
        path = "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))
        assert rt.output("c", "cat", path).split() == value.split(), key
    assert {key: _sysctl("/proc/sys", key) for key in sysctl} == before


def _sysctl(base: str, key: str) -> str:
    return Path(base, key if "/" in key else key.replace(".", "/")).read_text()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("kernel.panic", "is not in a separate kernel namespace"),
        ("kernel.hostname", "use the field /hostname"),
        ("net.ipv4.no_such_thing", "no such file or directory"),
    ],
)
def test_a_sysctl_that_is_not_the_containers_is_named(rt: Runtime, key: str, words: str) -> None:
    line = refused(rt, rt.config(linux={"sysctl": {key: "1"}}), words)
    assert f"/linux/sysctl/{key}" in line


def test_a_sysctl_value_the_kernel_refuses_is_named(rt: Runtime) -> None:
    sysctl = {"net.ipv4.ip_default_ttl": "100000"}
    line = refused(rt, rt.config(linux={"sysctl": sysctl}), "invalid argument")
    assert "/linux/sysctl/net.ipv4.ip_default_ttl" in line


def test_loopback_is_up_in_a_new_network_namespace(rt: Runtime) -> None:
    rt.running()
    assert "UP" in rt.output("c", "ip", "link", "show", "lo").split("mtu")[0]
    assert "127.0.0.1" in rt.output("c", "ip", "addr", "show", "lo")


def test_loopback_of_a_joined_network_namespace_is_left_alone(rt: Runtime) -> None:
    with holder("-n") as other:
        path = f"/proc/{other}/ns/net"
        running(rt, with_namespaces(rt, {"type": "network", "path": path}))
        assert "UP" not in rt.output("c", "ip", "link", "show", "lo").split("mtu")[0]
        assert rt.kill("c", "KILL").code == 0


def test_time_offsets(rt: Runtime) -> None:
    offsets = {"boottime": {"secs": 100_000, "nanosecs": 7}, "monotonic": {"secs": -1}}
    config = with_namespaces(rt, "time", "pid", linux={"timeOffsets": offsets})
    running(rt, config)
    inside = float(rt.output("c", "cat", "/proc/uptime").split()[0])
    outside = float(Path("/proc/uptime").read_text().split()[0])
    assert 99_990 < inside - outside < 100_010
    found = [line.split() for line in init_file(rt, "timens_offsets").decode().splitlines()]
    assert {name: (int(s), int(ns)) for name, s, ns in found} == {
        "monotonic": (-1, 0),
        "boottime": (100_000, 7),
    }
    # EX-17: identity does not depend on the clock of a time namespace
    assert rt.state("c")["status"] == "running"


def test_a_time_offset_the_kernel_refuses_is_named(rt: Runtime) -> None:
    """Before boot: ERANGE."""
    config = with_namespaces(rt, "time", linux={"timeOffsets": {"boottime": {"secs": -(10**9)}}})
    refused(rt, config, "/linux/timeOffsets")


def test_without_a_pid_namespace_kill_reaches_all_the_same(rt: Runtime) -> None:
    """SIGKILL of such a container is for its whole cgroup, as in runc: nothing else would end."""
    script = "sleep 1000 & sleep 1000 & wait"
    config = with_namespaces(rt, "ipc")
    config["process"]["args"] = ["sh", "-c", script]
    running(rt, config)
    listed = rt.shim("ps", "-f", "json", "c")
    assert listed.code == 0
    assert rt.kill("c", "KILL").code == 0
    assert rt.delete("c", "--force").code == 0


def test_a_mount_namespace_is_required(rt: Runtime) -> None:
    config = rt.config()
    config["linux"]["namespaces"] = [{"type": "pid"}]
    config.pop("hostname", None)
    refused(rt, config, "/linux/namespaces: a mount namespace is required")


def test_a_mount_namespace_joined_by_path(rt: Runtime) -> None:
    """As with runc: the container's root becomes that of the namespace, for all of its members."""
    with holder("-m") as other:
        config = with_namespaces(rt, "pid")
        config["linux"]["namespaces"][-1]["path"] = f"/proc/{other}/ns/mnt"
        pid = running(rt, config)
        assert namespaces_of(pid)["mount"] == namespaces_of(other)["mount"]
        assert rt.output("c", "cat", "/proc/1/comm") == "sleep\n"
        own = f"{rt.rootfs}"
        assert not any(line.split()[4].startswith(own) for line in _mountinfo(pid))
        assert rt.kill("c", "KILL").code == 0


def _mountinfo(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
