"""The stop: PreStop, stop signal, SIGKILL inside one grace period. Sans-IO: facts in, actions out.

Every input method takes the time (seconds, monotonic) and returns a list of actions for the caller
to carry out in order; nothing here waits, signals or writes. Rules: CONTRACT.md "Lifecycle
semantics", SECURITY.md SP-01..09, HK-12..15. The model in tests/unit/test_stop_properties.py is
written from those pages, not from this file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Action = tuple[str, ...]

RUN, CANCEL, SIGNAL, KILL, TIMER, PHASE, EMIT = (
    "run", "cancel", "signal", "kill", "timer", "phase", "emit",
)  # fmt: skip
"""Actions: (RUN, hook, trigger), (CANCEL, hook, outcome), (SIGNAL,), (KILL,), (TIMER,) = the
deadline changed, (PHASE, name), (EMIT, type, reason, message)."""

POST_START, PRE_STOP = "postStart", "preStop"
SUCCEEDED, FAILED, TIMED_OUT, INTERRUPTED = "succeeded", "failed", "timedOut", "interrupted"
NORMAL, WARNING = "Normal", "Warning"


class Machine:
    """One container's way from start to its end.

    `deadline` is when SIGKILL comes, None until a stop was asked for; it can only shrink. `hook` is
    the hook that is being waited for.
    """

    __slots__ = (
        "deadline", "grace", "hook", "killed", "name", "phase", "post_start", "pre_stop",
        "signal_name", "trigger",
    )  # fmt: skip

    def __init__(
        self, name: str, *, post_start: bool, pre_stop: bool, grace: float, signal_name: str
    ) -> None:
        self.name, self.post_start, self.pre_stop = name, post_start, pre_stop
        self.grace, self.signal_name = grace, signal_name
        self.phase = "created"
        self.deadline: float | None = None
        self.hook: str | None = None
        self.trigger = "start"
        self.killed = False

    def started(self) -> list[Action]:
        """The user's process has been executed."""
        if self.phase != "created":
            return []
        if not self.post_start:
            return self._enter("running")
        self.hook = POST_START
        return [*self._enter("starting"), (RUN, POST_START, "start")]

    def stop(
        self, now: float, grace: float | None, trigger: str, message: str | None = None
    ) -> list[Action]:
        """A stop is wanted within `grace` seconds (None: the configured ones; 0: SIGKILL at once).

        Asked again while stopping, it can only bring the deadline forward.
        """
        if self.phase == "stopped":
            return []
        deadline = now + (self.grace if grace is None else grace)
        if self.deadline is not None:
            return self._shorten(now, deadline)
        self.deadline, self.trigger = deadline, trigger
        text = message or f"Stopping container {self.name}"
        actions: list[Action] = [(EMIT, NORMAL, "Killing", text)]
        if self.hook == POST_START:
            self.hook = None
            actions.append((CANCEL, POST_START, INTERRUPTED))
        if self.phase == "created" or deadline <= now:
            return [*actions, *self._enter("stopping"), *self._kill()]
        if self.pre_stop:
            self.hook = PRE_STOP
            return [*actions, *self._enter("terminating"), (TIMER,), (RUN, PRE_STOP, trigger)]
        return [*actions, *self._signal(), (TIMER,)]

    def _shorten(self, now: float, deadline: float) -> list[Action]:
        if self.deadline is None or deadline >= self.deadline:
            return []
        self.deadline = deadline
        return [(TIMER,), *self.timer(now)]

    def hook_done(self, now: float, hook: str, outcome: str, message: str) -> list[Action]:
        """A delivery ended. One that was cancelled before is not waited for any more."""
        if hook != self.hook:
            return []
        self.hook = None
        if outcome == INTERRUPTED:
            return []  # the container is ending by itself; `exited` comes next (SECURITY.md HK-12)
        if hook == POST_START:
            if outcome == SUCCEEDED:
                text = f"PostStart hook of container {self.name} succeeded"
                return [*self._enter("running"), (EMIT, NORMAL, "PostStartHookSucceeded", text)]
            failed: Action = (EMIT, WARNING, "FailedPostStartHook", message)
            return [failed, *self.stop(now, None, "postStartFailed", "FailedPostStartHook")]
        if outcome == SUCCEEDED:
            text = f"PreStop hook of container {self.name} succeeded"
            event: Action = (EMIT, NORMAL, "PreStopHookSucceeded", text)
        elif outcome == TIMED_OUT:
            event = (EMIT, WARNING, "PreStopHookTimeout", message)
        else:
            event = (EMIT, WARNING, "FailedPreStopHook", message)
        return self._signal(event)

    def timer(self, now: float) -> list[Action]:
        """The time is `now`; acts only when the deadline has passed."""
        if self.deadline is None or now < self.deadline or self.killed or self.phase == "stopped":
            return []
        if self.hook == PRE_STOP:
            self.hook = None
            text = f"PreStop hook of container {self.name} was cut off by the grace period"
            signalled = self._signal((EMIT, WARNING, "PreStopHookTimeout", text))
            return [(CANCEL, PRE_STOP, TIMED_OUT), *signalled[:2], *self._kill(signalled[2:])]
        return self._kill()

    def exited(self, message: str, failed: bool) -> list[Action]:
        """The container's process has ended, whoever ended it."""
        if self.phase == "stopped":
            return []
        actions: list[Action] = []
        if self.hook is not None:
            actions.append((CANCEL, self.hook, INTERRUPTED))
            self.hook = None
        kind = WARNING if failed and self.deadline is None else NORMAL
        self.deadline = None
        return [*actions, (TIMER,), *self._enter("stopped"), (EMIT, kind, "Exited", message)]

    def resume(
        self, now: float, phase: str, deadline: float | None, trigger: str, signalled: bool
    ) -> list[Action]:
        """Take over from a monitor that ended in `phase`: an unfinished hook is delivered again,
        with the grace that remains (at least once: SECURITY.md ST-13, SP-11)."""
        self.phase, self.trigger = phase, trigger
        if phase == "starting":
            self.hook = POST_START if self.post_start else None
            return [(RUN, POST_START, "start")] if self.post_start else self._enter("running")
        if phase not in ("terminating", "stopping"):
            return []
        # a stop always ends, also when what was written down about it is damaged
        deadline = self.deadline = now + self.grace if deadline is None else deadline
        if phase == "terminating" and self.pre_stop and not signalled and now < deadline:
            self.hook = PRE_STOP
            return [(TIMER,), (RUN, PRE_STOP, trigger)]
        again = [] if signalled else self._signal()
        return [*again, (TIMER,), *self.timer(now)]

    def _enter(self, phase: str) -> list[Action]:
        self.phase = phase
        return [(PHASE, phase)]

    def _signal(self, *before: Action) -> list[Action]:
        """The act comes first, then what is written down about it: that takes a disk write."""
        text = f"Sent {self.signal_name} to container {self.name}"
        return [
            (SIGNAL,),
            *self._enter("stopping"),
            *before,
            (EMIT, NORMAL, "StopSignalSent", text),
        ]

    def _kill(self, before: list[Action] | None = None) -> list[Action]:
        self.killed = True
        text = f"Container {self.name} did not stop within its grace period and was killed"
        return [(KILL,), *(before or []), (EMIT, WARNING, "KilledAfterGracePeriod", text)]
