"""The monitor's event loop: epoll over descriptors, one timerfd for all deadlines. Nothing in it
blocks (SECURITY.md section 9 rule 7), and with nothing to do it does not wake up (SP-18)."""

from __future__ import annotations

import os
import select

from shim.engine.clock import CLOCK, Clock
from shim.kernel.api import CLOCK_MONOTONIC, KERNEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IN, OUT, PRI, HUP, ERR = (
    select.EPOLLIN, select.EPOLLOUT, select.EPOLLPRI, select.EPOLLHUP, select.EPOLLERR,
)  # fmt: skip


class Timer:
    """A deadline (monotonic seconds) and what to do then; `cancel` makes it harmless."""

    __slots__ = ("action", "deadline")

    def __init__(self, deadline: float, action: Callable[[], None]) -> None:
        self.deadline = deadline
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """It will not fire any more."""
        self.action = None


class Loop:
    """Callbacks by descriptor; each is called with the epoll event mask."""

    __slots__ = ("_armed", "_epoll", "_handlers", "_timerfd", "_timers", "clock", "last", "running")

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.clock = clock
        self.running = True
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._armed: float | None = None
        self._timerfd = KERNEL.timerfd(CLOCK_MONOTONIC)
        self.add(self._timerfd, IN, self._expired)

    def add(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        """Watch a descriptor; level-triggered."""
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """Change what is watched for."""
        self._epoll.modify(fd, mask)

    def drop(self, fd: int) -> None:
        """Stop watching; the descriptor must still be open, and stays so."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def forget(self, fd: int) -> None:
        """Drop what is watched by a number that has been closed already (epoll(7) did its part)."""
        self._handlers.pop(fd, None)

    def discard(self, fd: int) -> None:
        """Stop watching and close."""
        self.drop(fd)
        os.close(fd)

    def at(self, deadline: float, action: Callable[[], None]) -> Timer:
        """Call `action` once the monotonic clock has reached `deadline`."""
        timer = Timer(deadline, action)
        self._timers.append(timer)
        self._arm()
        return timer

    def _arm(self) -> None:
        self._timers = [timer for timer in self._timers if timer.action is not None]
        first = min((timer.deadline for timer in self._timers), default=None)
        if first != self._armed:
            KERNEL.timerfd_set(self._timerfd, first)
            self._armed = first

    def _expired(self, _events: int) -> None:
        try:
            os.read(self._timerfd, 8)
        except BlockingIOError:
            return
        self._armed = None
        self.fire()

    def fire(self) -> None:
        """Run the timers that are due."""
        now = self.clock.now()
        due = [timer for timer in self._timers if timer.deadline <= now]
        for timer in sorted(due, key=lambda timer: timer.deadline):
            action, timer.action = timer.action, None
            if action is not None:
                action()
        self._arm()

    def run(self) -> None:
        """Until `running` is false."""
        handlers, poll = self._handlers, self._epoll.poll
        while self.running:
            ready = poll()
            if len(ready) > 1 or ready[0][0] != self._timerfd:
                self.last = self.clock.now()
            for fd, events in ready:
                handler = handlers.get(fd)
                if handler is not None:
                    handler(events)

    def close(self) -> None:
        """Close what the loop itself opened."""
        self._epoll.close()
        os.close(self._timerfd)
