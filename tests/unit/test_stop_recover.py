"""What a journal says about a monitor that has gone (SECURITY.md ST-04, ST-13, SP-11)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shim.engine.recover import Past
from shim.model import journal

HOOKS = st.sampled_from(["postStart", "preStop"])


def intent(n: int, hook: str = "preStop", attempt: int = 1) -> dict[str, Any]:
    return {"t": "intent", "n": n, "hook": hook, "handler": "exec", "attempt": attempt}


def done(n: int) -> dict[str, Any]:
    return {"t": "done", "n": n, "outcome": "succeeded"}


def event(reason: str) -> dict[str, Any]:
    return {"t": "event", "reason": reason}


def test_an_empty_journal_is_a_fresh_start() -> None:
    past = Past([])
    assert (past.next_number, past.unfinished, past.signalled, past.attempts) == (1, [], False, {})


def test_an_intent_without_an_end_is_unfinished() -> None:
    past = Past([intent(1, "postStart"), done(1), intent(2)])
    assert past.unfinished == [intent(2)]
    assert past.next_number == 3
    assert past.attempts == {"postStart": 1, "preStop": 1}


def test_a_post_start_that_was_interrupted_and_a_pre_stop_may_both_be_open() -> None:
    """Its end is written down after the PreStop has begun: both leaves may hold processes."""
    past = Past([intent(1, "postStart"), intent(2, "preStop")])
    assert past.unfinished == [intent(1, "postStart"), intent(2)]


def test_the_attempts_of_earlier_monitors_count_on() -> None:
    past = Past([intent(1), done(1), event("HookRedelivered"), intent(2, attempt=2)])
    assert (past.attempts["preStop"], past.unfinished) == (2, [intent(2, attempt=2)])


def test_how_the_last_delivery_of_a_hook_ended() -> None:
    ends = [("postStart", "interrupted"), ("preStop", "timedOut"), ("postStart", "succeeded")]
    records: list[dict[str, Any]] = []
    for n, (hook, outcome) in enumerate(ends, 1):
        records += [intent(n, hook), {**done(n), "outcome": outcome}]
    assert Past(records[:2]).outcomes == {"postStart": "interrupted"}
    assert Past(records).outcomes == {"postStart": "succeeded", "preStop": "timedOut"}


def test_the_stop_signal_is_remembered_and_no_other_event_means_it() -> None:
    assert Past([event("StopSignalSent")]).signalled
    assert not Past([event("Killing"), event("KilledAfterGracePeriod")]).signalled


def test_records_that_make_no_sense_are_passed_over() -> None:
    odd = [{"t": "intent"}, {"t": "done", "n": "1"}, {"t": "intent", "n": None}, {"n": 7}, {}]
    past = Past([*odd, intent(1), {"t": "done", "n": 99}])
    assert past.unfinished == [intent(1)]
    assert past.next_number == 2


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Deliveries one after the other by monitors that may die in any of them."""
    records: list[dict[str, Any]] = []
    attempts = {"postStart": 0, "preStop": 0}
    for n in range(1, draw(st.integers(1, 6)) + 1):
        hook = draw(HOOKS)
        attempts[hook] += 1
        records.append(intent(n, hook, attempts[hook]))
        if draw(st.booleans()):
            records.append(event("StopSignalSent"))
        records.append(done(n))
    return records


@given(histories(), st.data())
def test_every_place_to_die_is_told_from_the_journal(
    records: list[dict[str, Any]], data: st.DataObject
) -> None:
    kept = records[: data.draw(st.integers(0, len(records)))]
    past = Past(kept)
    begun = [r for r in kept if r["t"] == "intent"]
    ended = {r["n"] for r in kept if r["t"] == "done"}
    assert past.unfinished == [r for r in begun if r["n"] not in ended]
    assert len(past.unfinished) <= 1
    assert past.next_number == len(begun) + 1
    for hook, attempt in past.attempts.items():
        assert attempt == sum(r["hook"] == hook for r in begun)
    assert past.signalled == any(r["t"] == "event" for r in kept)


@given(histories(), st.integers(0, 4000), st.integers(0, 255))
def test_st_04_a_damaged_file_reads_as_a_shorter_history(
    records: list[dict[str, Any]], at: int, value: int
) -> None:
    """Never as another one: what follows the damage is not believed."""
    lines = [journal.encode(number, record) for number, record in enumerate(records, 1)]
    whole = bytearray(b"".join(lines))
    whole[at % len(whole)] = value
    read, _ = journal.replay(bytes(whole))
    plain = [{key: r[key] for key in r if key != "seq"} for r in read]
    assert plain == records[: len(plain)]
    assert Past(read).next_number <= Past(records).next_number
