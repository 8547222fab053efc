"""Containers for the root tests: bundles, verbs with time limits, and a check for leftovers.

A container inherits the stdout of the verb that made it, so nothing here reads a pipe until end of
file: output goes through files. SHIM_COMMAND (set by scripts/test) is the installed command;
without it the checkout runs.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shimcli import command

from shim.bundle.make import PATH, bundle_document
from shim.errors import ShimError
from shim.kernel.cgroup import Cgroup, find_mount

TIMEOUT = 20.0
"""Seconds a verb may take: a hang is a failure, not a slow test."""

BUSYBOX = "/bin/busybox"
CAPS = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_SETGID",
    "CAP_SETUID",
)
"""What a test container's root may do unless the test says otherwise; no CAP_SYS_*."""

_numbers = itertools.count()


class Result:
    """A finished command: exit status (negative: the signal that ended it), stdout, stderr."""

    def __init__(self, argv: Sequence[str], code: int, out: str, err: str) -> None:
        self.argv, self.code, self.out, self.err = list(argv), code, out, err

    def __repr__(self) -> str:
        return f"{_words(self.argv)}: status {self.code}\nstdout: {self.out}\nstderr: {self.err}"

    @property
    def line(self) -> str:
        """stderr, when it is exactly one line, as CONTRACT.md promises of every error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, f"stderr is not one line: {self.err!r}"
        return lines[0]


class Runtime:
    """One test's runtime: its own state root, scratch directory, rootfs and cgroup."""

    def __init__(self, scratch: Path, template: Path) -> None:
        self.dir = scratch
        self.root = f"{scratch}/state"
        self._template = template
        self._bundles = 0
        self._spawned: list[subprocess.Popen[bytes]] = []
        self.mount = find_mount()
        self.group = Cgroup.create(self.mount, f"/shim-test-{os.getpid()}-r{next(_numbers)}")
        self.cgroup = self.group.path
        self._mounts = _mount_points()

    # -- bundles -----------------------------------------------------------------------------------

    @property
    def rootfs(self) -> Path:
        """This test's own busybox root file system; made on first use."""
        path = self.dir / "rootfs"
        if not path.exists():
            shutil.copytree(self._template, path, symlinks=True)
        return path

    def config(self, *args: str, **changes: Any) -> dict[str, Any]:
        """A config.json: `args` (default: sleep for long), then `changes` as a JSON merge patch
        (RFC 7396) on the top level: config(process={"cwd": "/tmp"}, hostname=None)."""
        config: dict[str, Any] = bundle_document(
            f"dir:{self.rootfs}", list(args or ("sleep", "1000"))
        )
        config["process"]["capabilities"] = {
            name: list(CAPS) for name in ("bounding", "effective", "permitted")
        }
        config["process"]["env"] = [PATH]
        config["linux"]["cgroupsPath"] = f"{self.cgroup}/c{self._bundles}"
        merged: dict[str, Any] = _merge(config, changes)
        return merged

    def bundle(self, *args: str, **changes: Any) -> Path:
        """A new bundle directory with `config(*args, **changes)` in it."""
        return self.bundle_of(self.config(*args, **changes))

    def bundle_of(self, config: Any) -> Path:
        """A new bundle directory; `config` is a document, or bytes to be written as they are."""
        path = self.dir / f"bundle{self._bundles}"
        self._bundles += 1
        path.mkdir()
        data = config if isinstance(config, bytes) else json.dumps(config).encode()
        (path / "config.json").write_bytes(data)
        return path

    # -- verbs -------------------------------------------------------------------------------------

    def argv(self, *words: str) -> list[str]:
        """The argument vector of shim with this test's --root."""
        installed = os.environ.get("SHIM_COMMAND")
        return [*([installed] if installed else command()), "--root", self.root, *words]

    def shim(self, *words: str, prefix: Sequence[str] = (), **how: Any) -> Result:
        """Run `shim --root ROOT WORDS...` behind `prefix` (strace, unshare)."""
        return self.run([*prefix, *self.argv(*words)], **how)

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, **how: Any
    ) -> Result:
        """Run any command to its end; an AssertionError when it does not end in time."""
        number = next(_numbers)
        paths = [self.dir / f"stdio.{number}.{name}" for name in ("in", "out", "err")]
        paths[0].write_bytes(stdin)
        with paths[0].open("rb") as fin, paths[1].open("wb") as fout, paths[2].open("wb") as ferr:
            process = subprocess.Popen(argv, stdin=fin, stdout=fout, stderr=ferr, **how)
            try:
                code: int | None = process.wait(timeout)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                process.kill()
                process.wait()
        out, err = (path.read_text(errors="backslashreplace") for path in paths[1:])
        assert code is not None, f"{_words(argv)}: no end after {timeout} s\n{out}\n{err}"
        return Result(argv, code, out, err)

    def spawn(self, *words: str, prefix: Sequence[str] = (), **how: Any) -> subprocess.Popen[bytes]:
        """Start `shim WORDS...` and do not wait; killed at the end of the test. No stdio."""
        for name in ("stdin", "stdout", "stderr"):
            how.setdefault(name, subprocess.DEVNULL)
        process = subprocess.Popen([*prefix, *self.argv(*words)], **how)
        self._spawned.append(process)
        return process

    def create(self, id: str, bundle: Path, *flags: str, **how: Any) -> Result:
        return self.shim("create", "--bundle", str(bundle), *flags, id, **how)

    def start(self, id: str, **how: Any) -> Result:
        return self.shim("start", id, **how)

    def exec(self, id: str, *argv: str, flags: Sequence[str] = (), **how: Any) -> Result:
        return self.shim("exec", *flags, id, *argv, **how)

    def kill(self, id: str, signal: str = "KILL", *flags: str, **how: Any) -> Result:
        return self.shim("kill", *flags, id, signal, **how)

    def delete(self, id: str, *flags: str, **how: Any) -> Result:
        return self.shim("delete", *flags, id, **how)

    def state(self, id: str) -> dict[str, Any]:
        """What `shim state` prints."""
        result = self.shim("state", id)
        assert result.code == 0, result
        document: dict[str, Any] = json.loads(result.out)
        return document

    def running(self, *args: str, id: str = "c", flags: Sequence[str] = (), **changes: Any) -> str:
        """Create and start a container of `bundle(*args, **changes)`; its id."""
        for result in (self.create(id, self.bundle(*args, **changes), *flags), self.start(id)):
            assert result.code == 0, result
        return id

    def output(self, id: str, *argv: str, **how: Any) -> str:
        """stdout of an exec that must succeed."""
        result = self.exec(id, *argv, **how)
        assert result.code == 0, result
        return result.out

    def ended(self, pidfd: int, timeout: float = 5) -> bool:
        """Whether the process has ended, waiting up to `timeout` seconds for it."""
        return bool(select.select([pidfd], [], [], timeout)[0])

    # -- what is left ------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """Names in the state root, whatever they are; locks are kept on purpose."""
        with suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.root) if name != ".locks")
        return []

    def leaks(self) -> list[str]:
        """Everything that exists now and would not if no container had ever been made."""
        base = self.mount.path.rstrip("/") + self.cgroup
        found = [f"state directory {name}" for name in self.ids()]
        for path, names, _ in os.walk(base):
            found += [f"cgroup {path[len(base) :]}/{name}" for name in names]
        found += [f"process {pid} {_comm(pid)}" for pid in self.group.pids()]
        found += [f"executor {pid}" for pid in _stray_executors()]
        found += [f"mount {point}" for point in _mount_points() - self._mounts]
        return found

    def close(self) -> None:
        """Delete every container; AssertionError when that leaves anything, which is then removed
        all the same."""
        for process in self._spawned:
            process.kill()
            process.wait()
        problems = []
        for name in self.ids():
            result = self.delete(name, "--force")
            if result.code:
                problems.append(repr(result))
        problems += self.leaks()
        with suppress(ShimError):
            self.group.write("cgroup.freeze", "0")
        self.group.kill()
        self.group.remove(10)
        self.group.close()
        assert not problems, "left behind:\n" + "\n".join(problems)


@contextmanager
def runtime(template: Path) -> Iterator[Runtime]:
    """A Runtime in a fresh directory of /dev/shm, closed and removed afterwards."""
    scratch = Path(f"/dev/shm/shim-test-{os.getpid()}-{next(_numbers)}")
    scratch.mkdir(0o755)
    try:
        made = Runtime(scratch, template)
        try:
            yield made
        finally:
            made.close()
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(scratch)], check=True)


def busybox_root(path: Path) -> Path:
    """A root file system of one static program: /bin/busybox and its applets, passwd, scratch
    directories."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "home", "run"):
        (path / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, path / "bin/busybox")
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for applet in set(applets.stdout.split()) - {"busybox"}:
        (path / "bin" / applet).symlink_to("busybox")
    (path / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n"
    )
    (path / "tmp").chmod(0o1777)
    return path


def _words(argv: Sequence[str]) -> str:
    """What was run, for messages: without the interpreter."""
    known = list(argv)
    return " ".join(known[known.index("--root") + 2 :] if "--root" in known else known)


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _mount_points() -> set[str]:
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        found = {" ".join(line.split()[i] for i in (0, 4)) for line in file}
    # another run of scripts/lib/in-own-cgroup beside us
    return {point for point in found if " /tmp/shim-cgroup." not in point}


def _comm(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
    return "?"


def _stray_executors() -> list[int]:
    """Orphans that still are our executor, outside every container."""
    found = []
    with open("/proc/self/cgroup") as file:
        ours = file.read()
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if not name.isdigit() or "memfd:shim-executor" not in os.readlink(f"/proc/{name}/exe"):
                continue
            with open(f"/proc/{name}/cgroup") as file:
                same = file.read() == ours
            with open(f"/proc/{name}/stat") as file:
                parent = file.read().rpartition(")")[2].split()[1]
            if same and parent == "1":
                found.append(int(name))
    return found
