"""The containers that scripts/bench measures on, and how one command of a runtime is timed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

NULL = ((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0))  # fmt: skip
TOOLS = ("/bin/true", "/bin/sleep", "/bin/sh")


def timed(argv: list[str]) -> float:
    """Milliseconds from the request to the reaped exit of a command that must succeed."""
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=NULL)
    _, status = os.waitpid(pid, 0)
    elapsed = time.perf_counter() - start
    if status:
        raise SystemExit(f"bench: status {os.waitstatus_to_exitcode(status)}: {' '.join(argv)}")
    return elapsed * 1000


class Resident:
    """A process that answers "N" on stdin with N samples in microseconds on one line.

    A sample may have a second part after a comma; it is kept in `extra`, in milliseconds.
    """

    def __init__(self, argv: list[str]) -> None:
        self.extra: list[float] = []
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def sample(self) -> float:
        """One sample, in milliseconds."""
        if self.process.stdin is None or self.process.stdout is None:
            raise SystemExit("bench: no pipes")
        self.process.stdin.write("1\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"bench: {self.process.args!r} ended")
        first, _, second = answer.partition(",")
        if second:
            self.extra.append(float(second) / 1000)
        return float(first) / 1000

    def close(self) -> None:
        """End of file is its order to leave."""
        self.process.communicate(timeout=10)


def make_bundle(directory: Path, args: list[str]) -> Path:
    """A bundle that all three runtimes take: `runc spec`, and Debian's own true, sleep and sh."""
    rootfs = directory / "rootfs"
    for path in _with_libraries(TOOLS):
        target = rootfs / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name in ("proc", "dev", "sys", "tmp"):
        (rootfs / name).mkdir(exist_ok=True)
    subprocess.run(["runc", "spec", "--bundle", str(directory)], check=True)
    config = directory / "config.json"
    document = json.loads(config.read_text())
    document["process"]["terminal"] = False
    document["process"]["args"] = args
    # crun wants CAP_SYS_RESOURCE to load a device program; a capability not every root has
    del document["linux"]["resources"]
    config.write_text(json.dumps(document))
    return directory


def _with_libraries(programs: tuple[str, ...]) -> set[str]:
    found = set(programs)
    for program in programs:
        listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        found |= set(re.findall(r"(/\S+) \(0x", listing.stdout))
    return found


class Runtime:
    """One runtime with a state directory of its own, on a tmpfs."""

    def __init__(self, name: str, command: str, root: Path, flags: tuple[str, ...] = ()) -> None:
        self.name = name
        self.live = f"{name}-live"  # by default the id names the cgroup, which is not shared
        self.prefix = [command, *flags, "--root", str(root)]

    def argv(self, *words: str) -> list[str]:
        """The command line of one verb."""
        return [*self.prefix, *words]

    def call(self, *words: str) -> None:
        """Run a verb that is not measured."""
        timed(self.argv(*words))

    def state(self, id: str) -> dict[str, object]:
        """What `state` prints."""
        result = subprocess.run(self.argv("state", id), capture_output=True, text=True, check=True)
        document: dict[str, object] = json.loads(result.stdout)
        return document

    def init(self, id: str) -> int:
        """The process id of the container's init."""
        return int(str(self.state(id)["pid"]))

    def end(self, id: str) -> None:
        """SIGKILL and wait, so that `delete` finds a stopped container; reaps it if it is ours."""
        pid = self.init(id)
        pidfd = os.pidfd_open(pid)
        self.call("kill", id, "KILL")
        wait_exit(pidfd, pid)


def wait_exit(pidfd: int, pid: int) -> None:
    """Until the process has ended."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # somebody else's child: a monitor reaps it
    os.close(pidfd)


def adopt_orphans() -> None:
    """Become the parent of what `create` and `run -d` leave behind, as an engine would."""
    import ctypes

    pr_set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0):
        raise SystemExit("bench: cannot become sub-reaper")
    signal.signal(signal.SIGINT, signal.default_int_handler)
