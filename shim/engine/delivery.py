"""One delivery of one hook, from the intent in the journal to the cost in the journal.

An exec hook runs in a fresh leaf cgroup below the container's and in its namespaces
(csrc/serve.c); a sleep hook is a timer. Either way `finish` is called exactly once. Order on the
way out: the hook's tree is killed first, then everything is written down.
"""

from __future__ import annotations

import errno
import os

from shim.engine import layout
from shim.engine import loop as ev
from shim.engine import usage as cost
from shim.engine.output import Output
from shim.engine.stop import FAILED, INTERRUPTED, SUCCEEDED, TIMED_OUT
from shim.errors import CannotInvokeError, CommandNotFoundError, ShimError, strerror
from shim.kernel import proc, unix
from shim.kernel.cgroup import read_events
from shim.kernel.sig import signal
from shim.model import plan
from shim.model.event import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource
    from collections.abc import Callable
    from typing import Any

    from shim.bundle.lifecycle import Handler
    from shim.engine.loop import Timer
    from shim.engine.monitor import Monitor
    from shim.kernel.cgroup import Cgroup

COMMAND_SHOWN, OUTPUT_SHOWN = 1 << 10, 4 << 10
"""Characters of a command and of its output in an event; `hooks` has all that was kept."""
REMOVE_SECONDS = 5.0
"""How long an emptied leaf may take to lose its last exiting process before it is left to
delete."""


class Delivery:
    """A hook in flight. `number` is its place in the journal and the name of its leaf cgroup."""

    __slots__ = (
        "attempt", "before", "done", "error", "exit_code", "handler", "hook", "leaf", "migrate",
        "monitor", "number", "outcome", "output", "pid", "rusage", "signal", "start_wall",
        "started", "status", "timer", "trigger", "why",
    )  # fmt: skip

    def __init__(
        self, monitor: Monitor, hook: str, handler: Handler, attempt: int, trigger: str, number: int
    ) -> None:
        self.monitor, self.hook, self.handler = monitor, hook, handler
        self.attempt, self.trigger, self.number = attempt, trigger, number
        self.outcome: str | None = None
        self.error: str | None = None
        self.why: str | None = None
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.rusage: resource.struct_rusage | None = None
        self.before: cost.Counts | None = None
        self.output = Output()
        self.leaf: Cgroup | None = None
        self.status: unix.Socket | None = None
        self.pid = 0
        self.timer: Timer | None = None
        self.done = self.migrate = False
        self.started, self.start_wall = 0.0, 0

    # ---- the way in

    def begin(self) -> None:
        """Journal the intent, then act (SECURITY.md ST-13)."""
        monitor = self.monitor
        self.started, self.start_wall = monitor.clock.now(), monitor.clock.wall_ns()
        monitor.facts.journal(
            {
                "t": "intent",
                "n": self.number,
                "hook": self.hook,
                "handler": self.handler.kind,
                "attempt": self.attempt,
                "trigger": self.trigger,
                "time": rfc3339(self.start_wall),
            }
        )
        limit = self.handler.timeout
        if limit is not None:
            self.timer = monitor.loop.at(self.started + limit, lambda: self.cut(TIMED_OUT))
        try:
            if self.handler.kind == "sleep":
                until = self.started + self.handler.seconds
                if limit is None or self.handler.seconds < limit:
                    self.timer = monitor.loop.at(until, lambda: self.finish(SUCCEEDED))
            else:
                self._spawn()
        except (ShimError, OSError) as error:
            self.error = str(error)
            self._fail()

    def _spawn(self) -> None:
        monitor = self.monitor
        self.leaf = monitor.cgroup.child(f"hook-{self.number}-{int(self.migrate)}")
        if self.handler.resources is not None:
            layout.limit(self.leaf, self.handler.resources)
        write = self.output.open()
        ours, theirs = unix.pair(unix.SOCK_SEQPACKET | unix.SOCK_NONBLOCK)
        self.status = ours
        try:
            theirs.setblocking(True)  # the executor's end waits for nothing but must not see EAGAIN
            monitor.spawner.request(
                token=self.number,
                status=theirs.fileno(),
                blob=monitor.plans.packed(self.handler, self.hook, self.attempt, self.trigger),
                cgroup=self.leaf.fd,
                stdio=(monitor.null, write, write),
                fds=[monitor.init],
                migrate=self.migrate,
            )
            # After the request, beside which it costs nothing, and before the hook can do harm.
            self.before = self.before or cost.Counts.of(monitor.cgroup)
        finally:
            os.close(write)
            theirs.close()
        monitor.watch_spawner()
        monitor.loop.add(ours.fileno(), ev.IN, self._on_status)
        monitor.loop.add(self.output.fd, ev.IN, self._on_output)

    def answered(self, pid: int, err: int) -> None:
        """The spawner's answer: the joiner's pid, or why there is none."""
        if pid:
            return  # the joiner: it is reaped with everything else
        self.error = f"clone3: {strerror(err)}" + (" (pids limit)" if err == errno.EAGAIN else "")
        self._fail()

    def spawner_died(self) -> None:
        """Its socket closed while we may still wait for its answer; a new one is started on
        demand."""
        if not self.done and not self.pid and self.handler.kind == "exec":
            self._again("the spawner died")

    # ---- what the executor says

    def _on_status(self, _events: int) -> None:
        assert self.status is not None
        while True:
            try:
                data = self.status.recv(plan.MSG.size)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop_status()
                self._executed()
                return
            self._message(data)
            if self.done:
                return

    def _message(self, data: bytes) -> None:
        """Believed only as far as it can be checked: a tracer inside the container may have forged
        it (SECURITY.md EX-26)."""
        if len(data) != plan.MSG.size:
            return
        kind, step, err, detail, first, *_ = plan.MSG.unpack(data)
        if kind == plan.MSG_PID and not self.pid:
            self._adopt(first)
        elif kind == plan.MSG_ERROR:
            failure = plan.failure(self.monitor.plans.ops(self.handler), step, err, detail)
            self.error = str(failure)
            if isinstance(failure, (CannotInvokeError, CommandNotFoundError)):
                self.exit_code = 126  # as container runtimes report both to the kubelet
            self._fail()

    def _adopt(self, pid: int) -> None:
        if self.monitor.reaper.is_child(pid):
            self.pid = pid
            self.monitor.reaper.own(pid, self._on_exit)

    def _executed(self) -> None:
        """End of file without an error: execve succeeded, or everything died before it."""
        if not self.done and not self.pid:
            self._again("executor was killed before it could run the hook (possibly out of memory)")

    def _again(self, why: str) -> None:
        """Once more, in a new leaf and through cgroup.procs: a cgroup that saw cgroup.kill ends
        CLONE_INTO_CGROUP children at birth (SECURITY.md CG-01)."""
        if self.migrate:
            self.error = why
            self._fail()
            return
        self.migrate = True
        self._release()
        try:
            self._spawn()
        except (ShimError, OSError) as error:
            self.error = str(error)
            self._fail()

    def _on_output(self, _events: int) -> None:
        if not self.output.drain():
            self.monitor.loop.drop(self.output.fd)

    def _on_exit(self, status: int, usage: resource.struct_rusage) -> None:
        self.rusage = usage
        if not self.done and self.status is not None:
            self._on_status(0)  # an execve failure may still be in the socket
        if self.done:
            return
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL and proc.is_exiting(self.monitor.pid):
            # the end of init took the hook with it: no fault of the hook (SECURITY.md HK-12)
            self.signal = signal.SIGKILL
            self.cut(INTERRUPTED, "the container exited")
            return
        if code < 0:
            self.signal, self.exit_code = -code, None
            self.error = self.error or f"ended by signal {-code}"
        else:
            self.exit_code = code
        self.finish(SUCCEEDED if code == 0 else FAILED)

    # ---- the way out

    def cut(self, outcome: str, why: str | None = None) -> None:
        """End it now, with all it forked."""
        if not self.done:
            default = {
                TIMED_OUT: "timed out",
                INTERRUPTED: "interrupted by a stop",
            }
            self.error = why or self.error or default.get(outcome)
            self.finish(outcome)

    def _fail(self) -> None:
        """It could not be run. Maybe because the container was ending, which is no fault of the
        hook (SECURITY.md HK-13)."""
        if self.exit_code is None and proc.is_exiting(self.monitor.pid):
            self.cut(INTERRUPTED, "the container exited")
        else:
            self.finish(FAILED)

    def finish(self, outcome: str) -> None:
        """Exactly once: kill what is left, tell the state machine, then write down what
        happened."""
        if self.done:
            return
        self.done, self.outcome = True, outcome
        if self.timer is not None:
            self.timer.cancel()
        finished, wall = self.monitor.clock.now(), self.monitor.clock.wall_ns()
        if self.output.fd >= 0:
            self.output.drain()
        self._kill_tree()
        if outcome != SUCCEEDED:
            cost.explain(self)
        self.monitor.hook_finished(self)
        self._record(finished, wall, cost.usage(self))
        self._release()

    def _kill_tree(self) -> None:
        """One write ends daemonised grandchildren too (SECURITY.md CG-06, CG-07, HK-01)."""
        if self.leaf is None:
            return
        try:
            if self.leaf.populated():
                self.leaf.kill()
        except ShimError as error:
            self.error = self.error or str(error)

    def _record(self, finished: float, wall: int, usage: dict[str, Any]) -> None:
        content = self.output.content()
        if content:
            self.monitor.facts.save_output(self.number, content)
        self.monitor.facts.journal(
            {
                "t": "done",
                "n": self.number,
                "startedAt": rfc3339(self.start_wall),
                "finishedAt": rfc3339(wall),
                "durationSeconds": round(finished - self.started, 6),
                "outcome": self.outcome,
                "exitCode": self.exit_code,
                "signal": self.signal,
                "error": self.error,
                "outputTruncated": self.output.dropped > 0,
                "usage": usage,
            }
        )

    def _drop_status(self) -> None:
        if self.status is not None:
            self.monitor.loop.drop(self.status.fileno())
            self.status.close()
            self.status = None

    def _release(self) -> None:
        """Give back the descriptors and the leaf cgroup."""
        self._drop_status()
        if self.output.fd >= 0:
            self.monitor.loop.drop(self.output.fd)
            self.output.close()
        leaf, self.leaf = self.leaf, None
        if leaf is not None:
            self.monitor.remove_leaf(leaf)


def remove_leaf(monitor: Monitor, leaf: Cgroup, gone: Callable[[], None]) -> None:
    """rmdir at once when it is empty, else when the kernel says so, never waiting here. `gone` is
    called in the end, also when a process that does not die kept the leaf: then delete removes
    it."""
    name, parent = leaf.path.rpartition("/")[2], monitor.cgroup.fd

    def attempt() -> bool:
        try:
            os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def end(events: int, timer: Timer | None) -> None:
        if timer is not None:
            timer.cancel()
        if events >= 0:
            monitor.loop.discard(events)
        leaf.close()
        gone()

    if attempt():
        end(-1, None)
        return
    events = leaf.events_fd()
    until = monitor.clock.now() + REMOVE_SECONDS
    timer = monitor.loop.at(until, lambda: end(events, None))

    def changed(_mask: int) -> None:
        if read_events(events).get("populated", 0) == 0 and attempt():
            end(events, timer)

    monitor.loop.add(events, ev.PRI, changed)


def failure_message(delivery: Delivery, container: str) -> str:
    """The kubelet's words for a failed hook (KUBERNETES.md rules 2, 3 and 20; CONTRACT.md
    "JSON")."""
    output = delivery.output.content().decode("utf-8", "backslashreplace")
    if delivery.handler.kind == "sleep":
        what, error = f"Sleep lifecycle hook ({delivery.handler.seconds:g})", delivery.error or ""
    else:
        command = clip(" ".join(delivery.handler.command), COMMAND_SHOWN)
        what = f"Exec lifecycle hook ([{command}])"
        code = delivery.exit_code
        if code is None and delivery.signal is not None:
            code = 128 + delivery.signal
        error = (
            f"command '{command}' exited with {code}: "
            if code is not None
            else clip(delivery.error or "", COMMAND_SHOWN)
        )
        if code == 126 and delivery.error:
            output = delivery.error
        elif delivery.why is not None and code is not None:
            output = f"{delivery.why}\n{output}"
    return (
        f'{what} for Container "{container}" in Pod "{container}" failed - error: {error}, '
        f"message: {quote(clip(output, OUTPUT_SHOWN))}"
    )


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, the middle left out: an event is one message to all watchers."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}...{text[-half:]}"


def quote(text: str) -> str:
    """Go's %q, near enough: what is not printable is escaped."""
    out = []
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char.isprintable():
            out.append(char)
        else:
            simple = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
            out.append(
                simple or (f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}")
            )
    return '"' + "".join(out) + '"'
