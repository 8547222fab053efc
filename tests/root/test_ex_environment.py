"""SECURITY.md EX-05..EX-08, EX-25, CV-09, CV-10: what a process of the container starts with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from support.runtime import CAPS, Runtime

from shim.bundle.make import PATH

CALLER = """
import os, resource, signal, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
os.set_inheritable(root, True)
for fd in [*range(3, 1003), 1023, min(hard, 65536) - 1]:
    os.dup2(root, fd)
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    if number < 32 or number > 34:
        signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.valid_signals()) - {signal.SIGCHLD})
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A careless caller: 1000 inheritable descriptors of the host's root, 1023 and 65535 (or the
highest allowed) too; every signal ignored and blocked."""

CARELESS = (sys.executable, "-I", "-S", "-c", CALLER)


def init_says(
    rt: Runtime,
    *argv: str,
    flags: Sequence[str] = (),
    prefix: Sequence[str] = (),
    **changes: object,
) -> str:
    """stdout of a container whose first process is `argv`."""
    with (rt.dir / "said").open("w+") as said:
        bundle = rt.bundle(*argv, **changes)
        words = rt.argv("create", "--bundle", str(bundle), *flags, "said")
        code = subprocess.run(
            [*prefix, *words], stdin=subprocess.DEVNULL, stdout=said, check=False, timeout=20
        ).returncode
        assert code == 0
        pidfd = os.pidfd_open(rt.state("said")["pid"])
        try:
            assert rt.start("said").code == 0
            assert rt.ended(pidfd)
        finally:
            os.close(pidfd)
        assert rt.delete("said").code == 0
        said.seek(0)
        return said.read()


# -- EX-05: / after the join is the container's ----------------------------------------------------


@contextmanager
def mount_namespace(script: str = "true") -> Iterator[tuple[str, ...]]:
    """A private mount namespace after `script`; the words that run a command in it."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    argv.append(f"{script} && echo && exec sleep 1000")
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.read(1) == b"\n"
        yield ("nsenter", "--mount", "--target", str(holder.pid), "--wd=/", "--")
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("pivot", [(), ("--no-pivot",)], ids=["pivot", "no-pivot"])
@pytest.mark.parametrize("stack", ["mount --rbind / /", "mount --rbind / / && mount --rbind / /"])
def test_ex_05_a_stacked_root_never_shows_the_host(
    rt: Runtime, stack: str, pivot: tuple[str, ...]
) -> None:
    (rt.rootfs / "container").touch()
    canary = rt.dir / "host"
    canary.touch()
    with mount_namespace(stack) as inside:
        created = rt.create("c", rt.bundle(), *pivot, prefix=inside)
        if created.code == 0:
            assert rt.start("c", prefix=inside).code == 0
            result = rt.exec("c", "sh", "-c", f"ls -d /container {canary}", prefix=inside)
            assert str(canary) not in result.out
            if not pivot:
                assert result.out == "/container\n", result
            elif result.out != "/container\n":
                assert "check that / is the container's root" in result.line
        assert rt.delete("c", "--force", prefix=inside).code == 0


def test_ex_05_another_root_is_refused(rt: Runtime) -> None:
    """The container moves its init to another root: what setns finds is not what create made."""
    names = [*CAPS, "CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]
    caps = {name: names for name in ("bounding", "effective", "permitted")}
    id = rt.running(process={"capabilities": caps})
    copy = "cp /bin/busybox /run/busybox"
    result = rt.exec(id, "sh", "-c", f"mount -t tmpfs none /run && {copy} && mkdir /run/old")
    assert result.code == 0, result
    result = rt.exec(id, "sh", "-c", "cd /run && pivot_root . old && /busybox true")
    assert result.code == 0, result
    result = rt.exec(id, "/busybox", "true")
    assert result.code == 125, result
    assert "check that / is the container's root" in result.line


def test_ex_05_an_init_in_a_chroot_does_not_matter(rt: Runtime) -> None:
    names = [*CAPS, "CAP_SYS_CHROOT"]
    caps = {name: names for name in ("bounding", "effective", "permitted")}
    jail = rt.rootfs / "jail"
    jail.mkdir()
    (jail / "busybox").write_bytes((rt.rootfs / "bin/busybox").read_bytes())
    (jail / "busybox").chmod(0o755)
    id = rt.running("chroot", "/jail", "/busybox", "sleep", "1000", process={"capabilities": caps})
    assert rt.output(id, "ls", "-d", "/jail") == "/jail\n"


# -- EX-06: descriptors ----------------------------------------------------------------------------


def test_ex_06_exec_passes_stdio_only(rt: Runtime) -> None:
    """The fourth is ls's own, of the directory it lists."""
    id = rt.running()
    assert rt.output(id, "ls", "/proc/self/fd", prefix=CARELESS).split() == ["0", "1", "2", "3"]


def test_ex_06_exec_compiled_anew_passes_stdio_only(rt: Runtime) -> None:
    id = rt.running()
    said = rt.output(id, "ls", "/proc/self/fd", prefix=CARELESS, flags=["--cwd", "/tmp"])
    assert said.split() == ["0", "1", "2", "3"]


def test_ex_06_init_gets_stdio_only(rt: Runtime) -> None:
    assert init_says(rt, "ls", "/proc/self/fd", prefix=CARELESS).split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_ex_06_preserve_fds_passes_so_many_and_no_more(rt: Runtime, count: int) -> None:
    flags = ["--preserve-fds", str(count)]
    wanted = [str(fd) for fd in range(3 + count + 1)]
    said = init_says(rt, "ls", "/proc/self/fd", prefix=CARELESS, flags=flags)
    assert said.split() == wanted
    id = rt.running()
    assert rt.output(id, "ls", "/proc/self/fd", prefix=CARELESS, flags=flags).split() == wanted


# -- EX-07: environment ----------------------------------------------------------------------------


NOISE = {
    **{f"NOISE_{i}": "x" * i for i in range(200)},
    "SECRET": "hunter2", "PYTHONPATH": "/tmp", "PYTHONHASHSEED": "1", "LD_LIBRARY_PATH": "/no",
    "HTTPS_PROXY": "http://proxy.test", "HOME": "/home/caller", "USER": "caller",
    "PATH": "/usr/bin:/bin",
    "SHIM_COMMAND": "/tmp/x", "NOTIFY_SOCKET": "/run/x", "LISTEN_PID": "1",
}  # fmt: skip
EXACT = [PATH, "A=1", "B=two words", "HOME=/root"]


def test_ex_07_nothing_of_the_callers_environment_reaches_a_process(rt: Runtime) -> None:
    process = {"env": EXACT[:3]}
    caller = {**os.environ, **NOISE}
    with (rt.dir / "said").open("w+") as said:
        words = rt.argv("create", "--bundle", str(rt.bundle("env", process=process)), "said")
        subprocess.run(words, env=caller, stdout=said, check=True, timeout=20)
        pidfd = os.pidfd_open(rt.state("said")["pid"])
        assert rt.start("said", env=caller).code == 0
        assert rt.ended(pidfd)
        os.close(pidfd)
        said.seek(0)
        assert said.read().splitlines() == EXACT
    id = rt.running(process=process)
    assert rt.output(id, "env", env=caller).splitlines() == EXACT


def test_ex_07_env_flags_replace_and_the_last_one_wins(rt: Runtime) -> None:
    id = rt.running(process={"env": EXACT[:3]})
    flags = ["--env", "A=2", "-e", "C=3", "-e", "C=4"]
    for more in ([], ["--cwd", "/"]):  # the packed plan, and one compiled anew
        said = rt.output(id, "env", flags=flags + more, env={**os.environ, **NOISE}).splitlines()
        assert sorted(said) == sorted([PATH, "A=2", "B=two words", "C=4", "HOME=/root"])


def test_ex_07_home_is_the_users_own(rt: Runtime) -> None:
    id = rt.running()
    assert "HOME=/home\n" in rt.output(id, "env", flags=["-u", "1000"])
    assert "HOME=/\n" in rt.output(id, "env", flags=["-u", "4242"])
    assert "HOME=/x\n" in rt.output(id, "env", flags=["-u", "1000", "-e", "HOME=/x"])


# -- EX-25: signals --------------------------------------------------------------------------------


def test_ex_25_signals_are_as_if_freshly_booted(rt: Runtime) -> None:
    wanted = {name: "0000000000000000" for name in ("SigBlk", "SigIgn", "SigCgt")}
    argv = ("grep", "^Sig[BIC]", "/proc/self/status")

    def signals(text: str) -> dict[str, str]:
        return dict(line.split(":\t") for line in text.splitlines())

    assert signals(init_says(rt, *argv, prefix=CARELESS)) == wanted
    assert signals(rt.output(rt.running(), *argv, prefix=CARELESS)) == wanted


def test_ex_25_a_caller_that_ignores_sigchld_gets_the_status_all_the_same(rt: Runtime) -> None:
    """With SIGCHLD ignored the kernel reaps for us, and a status could not be had (wait(2))."""
    ignore = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    prefix = (sys.executable, "-I", "-S", "-c", ignore)
    bundle = rt.bundle()
    assert rt.create("c", bundle, prefix=prefix).code == 0
    assert rt.start("c", prefix=prefix).code == 0
    assert rt.exec("c", "sh", "-c", "exit 7", prefix=prefix).code == 7
    assert rt.delete("c", "--force", prefix=prefix).code == 0
