"""Journal records and what users see of them (CONTRACT.md "JSON")."""

from __future__ import annotations

import calendar
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.model import event

CONTRACT_KEYS = [
    "hook",
    "handler",
    "attempt",
    "trigger",
    "startedAt",
    "finishedAt",
    "durationSeconds",
    "outcome",
    "exitCode",
    "signal",
    "error",
    "output",
    "outputTruncated",
    "usage",
]
INTENT = {
    "t": "intent",
    "n": 1,
    "hook": "preStop",
    "handler": "exec",
    "attempt": 1,
    "trigger": "stop",
    "time": "2026-01-01T00:00:00.000000Z",
}
DONE = {
    "t": "done",
    "n": 1,
    "startedAt": "2026-01-01T00:00:00.000100Z",
    "finishedAt": "2026-01-01T00:00:01.000100Z",
    "durationSeconds": 1.0,
    "outcome": "succeeded",
    "exitCode": 0,
    "signal": None,
    "error": None,
    "outputTruncated": True,
    "usage": {"cpuUsec": 12},
}


def test_rfc3339_has_microseconds_and_utc() -> None:
    assert event.rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert event.rfc3339(1_000_000_000_123_456_789) == "2001-09-09T01:46:40.123456Z"


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_rfc3339_round_trips(ns: int) -> None:
    text = event.rfc3339(ns)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    seconds = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    assert seconds * 10**9 + int(text[20:26]) * 1000 == ns // 1000 * 1000


def test_an_event_in_contract_shape() -> None:
    record = event.event("Normal", "Created", "made", "web", 0)
    assert record["t"] == "event"
    assert list(event.events([record, {"t": "intent"}])[0].items()) == [
        ("time", "1970-01-01T00:00:00.000000Z"),
        ("type", "Normal"),
        ("reason", "Created"),
        ("message", "made"),
        ("container", "web"),
        ("count", 1),
    ]


def test_a_reason_that_is_not_in_the_contract_is_a_bug() -> None:
    with pytest.raises(ValueError, match="Creatd"):
        event.event("Normal", "Creatd", "", "web", 0)


def test_a_finished_delivery() -> None:
    (delivery,) = event.deliveries([INTENT, DONE], lambda n: b"out %d" % n)
    assert list(delivery) == CONTRACT_KEYS
    assert delivery == {
        **{key: INTENT[key] for key in ("hook", "handler", "attempt", "trigger")},
        **{key: DONE[key] for key in DONE if key not in ("t", "n")},
        "output": "out 1",
    }


def test_a_running_delivery_has_nulls_and_no_zeros() -> None:
    (delivery,) = event.deliveries([INTENT], lambda n: None)
    assert list(delivery) == CONTRACT_KEYS
    assert delivery["startedAt"] == INTENT["time"]
    assert delivery["output"] == ""
    for key in ("finishedAt", "durationSeconds", "outcome", "exitCode", "signal", "error"):
        assert delivery[key] is None


def test_a_redelivery_is_a_delivery_of_its_own() -> None:
    again = {**INTENT, "n": 2, "attempt": 2}
    found = event.deliveries([INTENT, again, {**DONE, "n": 2}], lambda n: None)
    assert [(d["attempt"], d["outcome"]) for d in found] == [(1, None), (2, "succeeded")]


def test_hk_06_output_that_is_not_utf8_stays_visible() -> None:
    (delivery,) = event.deliveries([INTENT], lambda n: b"\xff\x00ok")
    assert delivery["output"] == "\\xff\x00ok"


def test_hostile_records_are_passed_over() -> None:
    journal = [{"t": "done", "n": 1}, {"t": "intent", "n": "1"}, {"t": "intent"}, {}]
    assert event.deliveries(journal, lambda n: None) == []
