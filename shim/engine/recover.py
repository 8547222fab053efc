"""What a dead monitor left in the journal, and how far it had come (SECURITY.md ST-13, SP-11)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Past:
    """Facts from the journal: `next_number` for the next delivery; `unfinished` the intent record
    of a hook that was begun and not seen to end; `signalled` whether the stop signal went out;
    `attempts` the highest attempt journalled for each hook."""

    __slots__ = ("attempts", "next_number", "signalled", "unfinished")

    def __init__(self, journal: list[dict[str, Any]]) -> None:
        self.next_number, self.signalled = 1, False
        self.attempts: dict[str, int] = {}
        open_: dict[int, dict[str, Any]] = {}
        for record in journal:
            kind, number = record.get("t"), record.get("n")
            if kind == "event" and record.get("reason") == "StopSignalSent":
                self.signalled = True
            if not isinstance(number, int):
                continue
            if kind == "intent":
                open_[number] = record
                hook, attempt = str(record.get("hook")), record.get("attempt")
                if isinstance(attempt, int):
                    self.attempts[hook] = max(attempt, self.attempts.get(hook, 0))
                self.next_number = max(self.next_number, number + 1)
            elif kind == "done":
                open_.pop(number, None)
        self.unfinished = max(open_.values(), key=lambda r: int(r["n"]), default=None)


def lost_record(intent: dict[str, Any]) -> dict[str, Any]:
    """The "done" record of a delivery whose monitor died: nothing is known, which is not 0
    (SP-12)."""
    unknown = dict.fromkeys(("finishedAt", "durationSeconds", "exitCode", "signal"))
    return {
        "t": "done",
        "n": intent["n"],
        "startedAt": intent.get("time"),
        **unknown,
        "outcome": "interrupted",
        "error": "the monitor ended during the delivery",
        "outputTruncated": False,
        "usage": {},
    }
