"""What the monitor writes down: the journal, the state file, hook output. Never waits for a lock,
and a stop goes on when nothing can be written (SECURITY.md section 9 rules 7 and 11, ST-02,
ST-14)."""

from __future__ import annotations

from shim.bundle.signals import signal_name
from shim.errors import NotFoundError, ShimError
from shim.model.event import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shim.engine.loop import Loop
    from shim.model.directory import ContainerDir

RETRY_SECONDS = 0.1
TRIES = 50


class Facts:
    """`state` is state.json as it is; `idle` is called when everything that was to be saved is
    saved (or was given up). As a context manager it holds writes back until the end, then writes
    once."""

    __slots__ = ("_changes", "_directory", "_held", "_idle", "_known", "_loop", "_tries")

    def __init__(
        self, directory: ContainerDir, loop: Loop, state: dict[str, Any], idle: Callable[[], None]
    ) -> None:
        self._directory, self._loop, self._idle = directory, loop, idle
        self._changes: dict[str, Any] = {}
        self._known = dict(state)
        self._tries = self._held = 0

    def __enter__(self) -> Facts:
        self._held += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self._held -= 1
        if self._held == 0:
            self.flush()

    @property
    def pending(self) -> bool:
        """Whether a change still waits for the lock."""
        return bool(self._changes)

    def journal(self, record: dict[str, Any]) -> None:
        """Append and sync, before the act that the record announces."""
        try:
            self._directory.append(record)
        except ShimError:
            return  # the act itself matters more

    def save(self, **changes: Any) -> None:
        """Change state.json; a little later when somebody holds the lock."""
        news = {k: v for k, v in changes.items() if k not in self._known or self._known[k] != v}
        self._known.update(news)
        self._changes.update(news)
        if self._held == 0:
            self.flush()

    def flush(self) -> None:
        """Write what is held back, now."""
        if self._changes and self._tries == 0:
            self._flush()

    def _flush(self) -> None:
        try:
            written = self._directory.try_update(**self._changes)
        except NotFoundError:
            written = True  # deleted meanwhile: nothing to keep
        except ShimError:
            written = False
        self._tries += 1
        if written or self._tries >= TRIES:
            self._changes, self._tries = {}, 0
            self._idle()
        else:
            self._loop.at(self._loop.clock.now() + RETRY_SECONDS, self._flush)

    def save_output(self, number: int, content: bytes) -> None:
        """hooks/N.out."""
        try:
            self._directory.write_bytes(f"hooks/{number}.out", content, durable=False)
        except ShimError:
            return


def exit_record(
    name: str, code: int | None, wall: int, starved: bool = False
) -> tuple[dict[str, Any], str]:
    """(state.json's "exit", the event's words) of a process that ended with `code`: -N for signal
    N, None when nobody could learn it. `wall` is nanoseconds since the epoch; `starved`: by the OOM
    killer."""
    number = -code if code is not None and code < 0 else None
    if code is None:
        text = f"Container {name} exited, exit code unknown"
    elif number is not None:
        text = f"Container {name} was ended by {signal_name(number)}"
    else:
        text = f"Container {name} exited with code {code}"
    reason = "Completed" if code == 0 else "Unknown" if code is None else "Error"
    if starved:
        reason = "OOMKilled"
    record = {
        "exitCode": None if number is not None else code,
        "signal": number,
        "at": rfc3339(wall),
        "reason": reason,
    }
    return record, text
