"""The monitor: one process that drives one container's lifecycle while there is something to drive.

It carries out what the state machine (engine.stop) decides and feeds it facts: exits, finished
hooks, requests, time. It may be killed at any instant: `resume` continues from the state file and
the journal. ARCHITECTURE.md "Processes"; SECURITY.md section 9 "Monitor".
"""

from __future__ import annotations

import os

from shim.bundle.lifecycle import Lifecycle
from shim.bundle.signals import signal_name
from shim.engine import delivery as deliver
from shim.engine import layout, stop, usage
from shim.engine import loop as ev
from shim.engine.control import Control
from shim.engine.delivery import Delivery
from shim.engine.facts import Facts, exit_record
from shim.engine.hookplans import HookPlans
from shim.engine.reaper import Reaper
from shim.engine.recover import Past, lost_record
from shim.engine.spawner import Spawner
from shim.engine.stop import Machine
from shim.errors import ShimError
from shim.kernel import proc
from shim.kernel.sig import signal
from shim.model.event import event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shim.engine.logs import Stream
    from shim.engine.loop import Loop, Timer
    from shim.engine.stop import Action
    from shim.kernel.cgroup import Cgroup
    from shim.model.directory import ContainerDir

REST_SECONDS = 2.0
"""See engine.park."""
REAP_SECONDS = 2.0
"""How long an exit code is waited for when somebody else is the parent and has to reap first."""


class Monitor:
    """`init` is the container's pidfd, `cgroup` its cgroup; `parent` says that we reap init
    ourselves."""

    __slots__ = (
        "_exited", "_leaves", "_shared_exit", "_spawner_fd", "_timer", "_watched", "cgroup",
        "clock", "control", "deliveries", "directory", "exit", "facts", "init", "inner",
        "lifecycle", "lock", "loop", "machine", "name", "null", "number", "parent", "pid", "plans",
        "reaper", "remove", "rest", "shot", "spawner", "streams",
    )  # fmt: skip

    def __init__(
        self,
        directory: ContainerDir,
        state: dict[str, Any],
        loop: Loop,
        init: int,
        cgroup: Cgroup,
        *,
        parent: bool,
    ) -> None:
        raw = state.get("lifecycle")
        self.lifecycle = Lifecycle.default() if raw is None else Lifecycle.from_json(raw)
        self.directory, self.name, self.loop, self.clock = directory, directory.id, loop, loop.clock
        self.init, self.pid, self.cgroup, self.parent = init, int(state["pid"]), cgroup, parent
        self.machine = Machine(
            self.name,
            post_start=self.lifecycle.post_start is not None,
            pre_stop=self.lifecycle.pre_stop is not None,
            grace=self.lifecycle.grace,
            signal_name=signal_name(self.lifecycle.stop_signal),
        )
        self.control, self.spawner = Control(loop, self._request, self.finish_if_idle), Spawner()
        self.deliveries: dict[int, Delivery] = {}
        self.streams: list[Stream] = []
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.number, self.lock = 1, -1
        self.rest = REST_SECONDS
        self.plans = HookPlans()
        self.facts = Facts(directory, loop, state, self.finish_if_idle)
        self.reaper = Reaper(loop, self._on_signal)
        self._exited = self.shot = False
        self.inner = layout.is_inner(state)
        self._leaves, self._spawner_fd, self._watched = 0, -1, 0
        self.exit: dict[str, Any] | None = None
        self.remove: Callable[[], None] | None = None
        self._timer: Timer | None = None
        self._shared_exit: Timer | None = None

    # ---- life

    def open(self) -> None:
        """Take the reins: signals, control socket, init. The caller holds the monitor lock."""
        self.control.listen(self.directory.fd)
        if self.lifecycle.post_start or self.lifecycle.pre_stop:
            self.plans.load(self.directory, self.lifecycle)
            self.directory.keep_journal()
        if self.parent:
            self.reaper.own(self.pid, self._on_init_reaped)
        else:
            self.loop.add(self.init, ev.IN, self._on_foreign_exit)

    def started(self) -> None:
        """The process runs: PostStart, or straight to running."""
        self.act(self.machine.started())

    def resume(self, state: dict[str, Any], past: Past) -> None:
        """Carry on where another monitor ended. What its hook left running is killed before the
        hook is delivered again."""
        now = self.clock.now()
        self.number = past.next_number
        saved = state.get("deadline")
        deadline = None if saved is None else self.clock.restore(saved)
        for intent in past.unfinished:
            self._close_lost(intent)
        phase = str(state.get("phase"))
        trigger = str(state.get("trigger") or "api")
        done = not past.unfinished and past.outcomes.get(stop.POST_START) == stop.SUCCEEDED
        if phase == "starting" and done:
            phase = "running"
            self.facts.save(phase=phase)
        self.act(self.machine.resume(now, phase, deadline, trigger, past.signalled), past)

    def _close_lost(self, intent: dict[str, Any]) -> None:
        number = int(intent["n"])
        for name in (f"hook-{number}-0", f"hook-{number}-1"):
            try:
                leaf = self.cgroup.child(name, create=False)
            except ShimError:
                continue
            leaf.kill()
            self.remove_leaf(leaf)
        self.facts.journal(lost_record(intent))

    def act(self, actions: list[Action], past: Past | None = None) -> None:
        """Carry out what the state machine wants, in its order; what is to be saved is saved once,
        at the end."""
        with self.facts:
            for action in actions:
                self._act(action, past)

    def _act(self, action: Action, past: Past | None) -> None:
        kind, *rest = action
        if kind == stop.SIGNAL:
            self._thaw()
            self.send(self.lifecycle.stop_signal)
        elif kind == stop.KILL:
            self._kill()
        elif kind == stop.CANCEL:
            self._cancel(rest[0], rest[1])
        elif kind == stop.RUN:
            self.facts.flush()  # whoever takes over must find the stop that the hook belongs to
            if rest[0] == stop.PRE_STOP:
                self._thaw()
            self._deliver(rest[0], rest[1], past)
        elif kind == stop.TIMER:
            self._set_deadline()
        elif kind == stop.PHASE:
            self.facts.save(phase=rest[0])
            self.tell()
        else:
            self.emit(*rest)

    # ---- actions

    def send(self, number: int) -> None:
        """A signal for init."""
        self.shot = self.shot or number == signal.SIGKILL
        try:
            signal.pidfd_send_signal(self.init, number)
        except ProcessLookupError:
            return

    def _thaw(self) -> None:
        """A paused container could act on no signal and run no hook (SECURITY.md CG-02, CG-04)."""
        try:
            self.cgroup.write("cgroup.freeze", "0")
        except ShimError:
            return  # no freezer, nothing frozen

    def _kill(self) -> None:
        """The end of the grace period: init and everything it or a hook forked, in one write."""
        self.send(signal.SIGKILL)
        try:
            self.cgroup.kill()
        except ShimError:
            return  # init had its SIGKILL; what is left goes with delete

    def _cancel(self, hook: str, outcome: str) -> None:
        why = "the container exited" if self._exited else None
        for delivery in [d for d in self.deliveries.values() if d.hook == hook]:
            delivery.cut(outcome, why)

    def _deliver(self, hook: str, trigger: str, past: Past | None) -> None:
        handler = self.lifecycle.post_start if hook == stop.POST_START else self.lifecycle.pre_stop
        if handler is None:
            return
        attempt = 1 if past is None else past.attempts.get(hook, 0) + 1
        number, self.number = self.number, self.number + 1
        delivery = Delivery(self, hook, handler, attempt, trigger, number)
        self.deliveries[number] = delivery
        delivery.begin()
        if attempt > 1:
            text = f"{hook} hook of container {self.name} is delivered again, attempt {attempt}"
            self.emit(stop.WARNING, "HookRedelivered", text)

    def _set_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.machine.deadline
        if deadline is not None:
            self._timer = self.loop.at(
                deadline, lambda: self.act(self.machine.timer(self.clock.now()))
            )
        persisted = None if deadline is None else self.clock.persist(deadline)
        self.facts.save(deadline=persisted, trigger=self.machine.trigger)
        self.tell()

    def emit(self, kind: str, reason: str, message: str) -> None:
        """An event: into the journal, and to whoever is connected."""
        record = event(kind, reason, message, self.name, self.clock.wall_ns())
        self.facts.journal(record)
        self.tell(record)

    def tell(self, record: dict[str, Any] | None = None) -> None:
        """News for the connections."""
        self.control.tell(self._news(record))

    def _news(
        self, record: dict[str, Any] | None = None, exit: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        deadline = self.machine.deadline
        return {
            "phase": self.machine.phase,
            "deadline": None if deadline is None else self.clock.persist(deadline),
            "event": record,
            "finished": exit is not None,
            "exit": exit,
        }

    # ---- requests

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "stop":
            grace = 0.0 if request.get("now") else request.get("grace")
            if grace is not None and not (isinstance(grace, int | float) and 0 <= grace < 2**31):
                raise ValueError("grace is not a number of seconds")
            self.stop(grace, str(request.get("trigger") or "api"), request.get("reason"))
        elif request["op"] == "signal":
            self.send(int(request["number"]))
        elif request["op"] not in ("watch", "wait"):
            raise ValueError(f"unknown op {request['op']!r}")
        return self._news()

    def stop(self, grace: float | None, trigger: str, reason: str | None) -> None:
        """A stop request, from whoever."""
        message = f"Stopping container {self.name}" + (
            f": {deliver.clip(str(reason), deliver.COMMAND_SHOWN)}" if reason else ""
        )
        self.act(self.machine.stop(self.clock.now(), grace, trigger, message))

    # ---- hooks

    def hook_finished(self, delivery: Delivery) -> None:
        """Called once by a delivery, after its process tree was killed and before it is
        recorded."""
        self.deliveries.pop(delivery.number, None)
        message = ""
        if delivery.outcome == stop.TIMED_OUT:
            message = f"{delivery.hook} hook of container {self.name} timed out"
        elif delivery.outcome != stop.SUCCEEDED:
            message = deliver.failure_message(delivery, self.name)
        outcome = str(delivery.outcome)
        self.act(self.machine.hook_done(self.clock.now(), delivery.hook, outcome, message))

    def remove_leaf(self, leaf: Cgroup) -> None:
        """See delivery.remove_leaf; counted, so that the monitor stays for the end of it."""
        self._leaves += 1

        def gone() -> None:
            self._leaves -= 1
            self.finish_if_idle()

        deliver.remove_leaf(self, leaf, gone)

    def watch_spawner(self) -> None:
        """Have answers read; called after each request, since the spawner may be a new one."""
        if self.spawner.generation != self._watched:
            if self._spawner_fd >= 0:
                self.loop.forget(self._spawner_fd)
            self._spawner_fd, self._watched = self.spawner.fileno(), self.spawner.generation
            self.loop.add(self._spawner_fd, ev.IN, self._on_answer)

    def _on_answer(self, _events: int) -> None:
        fd = self._spawner_fd
        answers = self.spawner.answers()
        if not self.spawner.running:
            self.loop.forget(fd)
            self._spawner_fd = -1
        for number, pid, err in answers:
            delivery = self.deliveries.get(number)
            if delivery is not None:
                delivery.answered(pid, err)
        if self._spawner_fd < 0:
            for delivery in list(self.deliveries.values()):
                delivery.spawner_died()

    # ---- processes

    def _on_signal(self, numbers: set[int]) -> None:
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self.stop(None, "shutdown", "the monitor was told to end")

    def _on_init_reaped(self, status: int, _usage: Any) -> None:
        self._on_exit(os.waitstatus_to_exitcode(status))

    def _on_foreign_exit(self, events: int) -> None:
        """Somebody else's child has ended. The kernel tells its exit code once it has been
        reaped."""
        code = proc.exit_info(self.init)
        if code is None and not events & ev.HUP:
            self.loop.modify(self.init, 0)
            if self._shared_exit is None:
                until = self.clock.now() + REAP_SECONDS
                self._shared_exit = self.loop.at(until, lambda: self._on_foreign_exit(ev.HUP))
            return
        if self._shared_exit is not None:
            self._shared_exit.cancel()
        self.loop.drop(self.init)
        self._on_exit(code)

    def _on_exit(self, code: int | None) -> None:
        """Init has ended: everything else of the container goes too, then it is written down."""
        self._exited = True
        starved = usage.main_ran_out(self, code)
        try:
            if self.cgroup.populated():
                self.cgroup.kill()
        except ShimError:
            pass  # the cgroup has gone with its container
        for stream in self.streams:
            stream.drain()
        exit_, text = exit_record(self.name, code, self.clock.wall_ns(), starved)
        self.exit = exit_
        with self.facts:
            self.facts.save(exit=exit_, status="stopped")
            if starved:
                self.emit(stop.WARNING, "OOMKilled", f"Container {self.name} ran out of memory")
            self.act(self.machine.exited(text, failed=code != 0))
        self.finish_if_idle()

    def finish_if_idle(self) -> None:
        """End the loop once the container has ended and all is cleared away and written down."""
        busy = self.deliveries or self._leaves or self.facts.pending
        if any(stream.busy for stream in self.streams) or busy:
            return
        # Below an engine there is nothing to wait for between PostStart and a stop.
        served = not self.parent and not self.control.peers()
        settled = served and self.machine.phase == "running"
        if self._exited or settled:
            self.loop.running = False

    @property
    def resting(self) -> bool:
        """Whether there is nothing to drive and nothing half done: the interpreter may go."""
        busy = self.deliveries or self._leaves or self.facts.pending
        quiet = not busy and not any(stream.busy for stream in self.streams)
        return quiet and self.parent and not self._exited and self.machine.phase == "running"

    def end(self) -> None:
        """After the loop: remove what was to be removed, tell everybody, let go."""
        self.spawner.close()
        for stream in self.streams:
            stream.close()
        exit_ = self.exit
        if exit_ is not None and self.remove is not None:
            self.remove()
        if exit_ is not None:
            self.control.tell(self._news(None, exit_), final=True)
        self.control.close(self.directory.fd)
