"""`shim stop`: request the stops, then watch them; the engine does the stopping (ARCHITECTURE.md
"monitor")."""

from __future__ import annotations

import os
import select
from time import CLOCK_BOOTTIME, clock_gettime, monotonic

from shim.cli.report import stderr
from shim.errors import CallerTimeoutError, ShimError
from shim.model import status
from shim.model.container import Container
from shim.model.store import Store
from shim.view import countdown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.cli.options import Args

REFRESH = 0.1
"""Seconds between two pictures of the countdown."""
SECOND_CTRL_C = 1.0
"""Seconds in which another Ctrl-C means SIGKILL now."""


class _Stop:
    """One container that is being stopped."""

    __slots__ = ("id", "shown", "total", "watch")

    def __init__(self, id: str, watch: Any) -> None:
        self.id, self.watch = id, watch
        self.shown = ""
        self.total = self.left()

    def left(self) -> float | None:
        """Seconds until SIGKILL."""
        deadline: float | None = self.watch.deadline
        return None if deadline is None else deadline - clock_gettime(CLOCK_BOOTTIME)


def run(args: Args) -> int:
    """Stop every container named, all at once; 0 when all have stopped (or, with --no-wait, were
    asked to)."""
    store = Store(args.root)
    stops, code = _request(store, args)
    try:
        if not args.no_wait:
            code = max(code, _watch(stops, store, args))
    finally:
        for stop in stops:
            stop.watch.close()
    return code


def _request(store: Store, args: Args) -> tuple[list[_Stop], int]:
    """Ask for every stop before waiting for any. A failure is reported and does not keep the
    others."""
    from shim.engine.client import stop

    if len(args.ids) == 1:
        id = args.ids[0]
        watch = stop(store, id, grace=args.grace, reason=args.reason, now=args.now)
        return [_Stop(id, watch)], 0
    found, code = [], 0
    for id in dict.fromkeys(args.ids):
        try:
            watch = stop(store, id, grace=args.grace, reason=args.reason, now=args.now)
        except ShimError as error:
            code = args.report.error("stop", id, error)
            continue
        found.append(_Stop(id, watch))
    return found, code


def _watch(stops: list[_Stop], store: Store, args: Args) -> int:
    live = os.isatty(2)
    end = None if args.timeout is None else monotonic() + args.timeout
    try:
        return _loop(stops, store, args, live, end)
    except KeyboardInterrupt:
        if not live or not _second_interrupt():
            raise
        from shim.engine.client import stop

        for each in stops:
            if not each.watch.finished:
                stop(store, each.id, grace=None, reason=None, now=True).close()
        raise
    finally:
        if live:
            stderr("\r\x1b[K")


def _loop(stops: list[_Stop], store: Store, args: Args, live: bool, end: float | None) -> int:
    """Until every stop has finished; CallerTimeoutError at `end` on the monotonic clock."""
    poll = select.poll()
    pending = {each.watch.fileno(): each for each in stops if not each.watch.finished}
    for fd in pending:
        poll.register(fd, select.POLLIN)
    code = 0
    while pending:
        _show(list(pending.values()), live)
        for fd, _ in poll.poll(_timeout_ms(live, end)):
            each = pending[fd]
            news = each.watch.read()
            if each.watch.finished or not news:
                poll.unregister(fd)
                del pending[fd]
                code = max(code, _ended(each, store, args, live))
        if end is not None and pending and monotonic() >= end:
            raise CallerTimeoutError(f"still not stopped after {args.timeout:g} seconds")
    return code


def _timeout_ms(live: bool, end: float | None) -> float | None:
    """How long to sleep: to the next picture, to the caller's own end, or for ever."""
    limits = [REFRESH] if live else []
    if end is not None:
        limits.append(max(0.0, end - monotonic()))
    return min(limits) * 1000 if limits else None


def _show(stops: list[_Stop], live: bool) -> None:
    if live:
        lines = [
            countdown.live(each.id, each.watch.phase, each.left(), each.total) for each in stops
        ]
        stderr("\r" + countdown.joined(lines, os.get_terminal_size(2).columns or 80) + "\x1b[K")
        return
    for each in stops:
        if each.watch.phase != each.shown:
            each.shown = each.watch.phase
            stderr(countdown.plain(each.id, each.shown, each.left()))


def _ended(each: _Stop, store: Store, args: Args, live: bool) -> int:
    """The last line of a container; an error when its monitor has gone and it has not stopped."""
    if not each.watch.finished:
        try:
            now = Container.load(store, each.id).status()
            if now != status.STOPPED:
                raise ShimError("the monitor ended before the container had stopped")
        except ShimError as error:
            return args.report.error("stop", each.id, error)
    if each.shown != "stopped":
        stderr(("\r\x1b[K" if live else "") + countdown.plain(each.id, "stopped", None))
    return 0


def _second_interrupt() -> bool:
    """Whether Ctrl-C comes again while the user reads this."""
    stderr("\r\x1b[Kshim: not watching any longer, the stop goes on; Ctrl-C again kills now\n")
    try:
        select.select([], [], [], SECOND_CTRL_C)
    except KeyboardInterrupt:
        return True
    return False
