"""Children of the monitor: reap everything, always, and tell who asked (SECURITY.md EX-19,
SP-15)."""

from __future__ import annotations

import os

from shim.engine import loop as ev
from shim.kernel.api import KERNEL
from shim.kernel.sig import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shim.engine.loop import Loop

EARLY_MAX = 64
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Reaper:
    """Reads the signals through a signalfd; `on_signals` gets the numbers other than SIGCHLD."""

    __slots__ = ("_early", "_on_signals", "_owned", "fd")

    def __init__(self, loop: Loop, on_signals: Callable[[set[int]], None]) -> None:
        self._owned: dict[int, Callable[[int, Any], None]] = {}
        self._early: dict[int, tuple[int, Any]] = {}
        self._on_signals = on_signals
        self.fd = KERNEL.signalfd(SIGNALS)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        loop.add(self.fd, ev.IN, lambda _: self.drain())

    def own(self, pid: int, handler: Callable[[int, Any], None]) -> None:
        """Call `handler(wait status, rusage)` when our child `pid` is reaped, at once if it was."""
        early = self._early.pop(pid, None)
        if early is not None:
            handler(*early)
        else:
            self._owned[pid] = handler

    def is_child(self, pid: int) -> bool:
        """Whether `pid` is a child of ours that nobody owns yet, reaped or not."""
        if pid in self._early:
            return True
        if pid in self._owned:
            return False
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (ChildProcessError, OverflowError):
            return False
        return True

    def drain(self) -> None:
        """Act on every signal that has arrived."""
        numbers: set[int] = set()
        try:
            while data := os.read(self.fd, 128 * 16):
                numbers.update(data[i] for i in range(0, len(data), 128))
        except BlockingIOError:
            pass
        if signal.SIGCHLD in numbers:
            numbers.discard(signal.SIGCHLD)
            self.reap()
        if numbers:
            self._on_signals(numbers)

    def reap(self) -> None:
        """Everything that has ended: init, hooks, joiners, orphans (SIGCHLD coalesces)."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            handler = self._owned.pop(pid, None)
            if handler is not None:
                handler(status, usage)
                continue
            if len(self._early) >= EARLY_MAX:
                self._early.pop(next(iter(self._early)))
            # A hook may end before the message that names it is read.
            self._early[pid] = (status, usage)
