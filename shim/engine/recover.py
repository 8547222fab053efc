"""What a dead monitor left in the journal, and how far it had come (SECURITY.md ST-13, SP-11)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Past:
    """Facts from the journal: `next_number` for the next delivery; `unfinished` the intent records
    of hooks that were begun and not seen to end; `signalled` whether the stop signal went out;
    `attempts` the highest attempt journalled for each hook; `outcomes` how its last delivery
    ended."""

    __slots__ = ("attempts", "next_number", "outcomes", "signalled", "unfinished")

    def __init__(self, journal: list[dict[str, Any]]) -> None:
        self.next_number, self.signalled = 1, False
        self.attempts: dict[str, int] = {}
        self.outcomes: dict[str, str] = {}
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
            elif kind == "done" and number in open_:
                self.outcomes[str(open_.pop(number).get("hook"))] = str(record.get("outcome"))
        self.unfinished = list(open_.values())


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
