"""CONTRACT.md "JSON", key for key and type for type, on what real containers leave behind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.lifecycle import DEAF, Lives, sh

TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}
MAYBE_TIME = {"anyOf": [TIME, {"type": "null"}]}
COUNT = {"type": ["integer", "null"], "minimum": 0}
REASONS = [
    "Created",
    "Started",
    "PostStartHookSucceeded",
    "FailedPostStartHook",
    "Killing",
    "PreStopHookSucceeded",
    "FailedPreStopHook",
    "PreStopHookTimeout",
    "HookRedelivered",
    "StopSignalSent",
    "KilledAfterGracePeriod",
    "Exited",
    "OOMKilled",
    "Unhealthy",
    "BackOff",
    "Restarted",
    "Pulling",
    "Pulled",
]


def exactly(**properties: Any) -> dict[str, Any]:
    """An object of these keys: all of them and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


DELIVERY = exactly(
    hook={"enum": ["postStart", "preStop"]},
    handler={"enum": ["exec", "sleep"]},
    attempt={"type": "integer", "minimum": 1},
    trigger={"type": "string", "minLength": 1},
    startedAt=TIME,
    finishedAt=MAYBE_TIME,
    durationSeconds={"type": ["number", "null"], "minimum": 0},
    outcome={"enum": ["succeeded", "failed", "timedOut", "interrupted", None]},
    exitCode={"type": ["integer", "null"], "minimum": 0, "maximum": 255},
    signal={"type": ["integer", "null"], "minimum": 1},
    error={"type": ["string", "null"]},
    output={"type": "string"},
    outputTruncated={"type": "boolean"},
    usage={
        "type": "object",
        "properties": {"cpuUsec": COUNT, "maxRssBytes": COUNT},
        "additionalProperties": COUNT,
    },
)
EVENT = exactly(
    time=TIME,
    type={"enum": ["Normal", "Warning"]},
    reason={"enum": REASONS},
    message={"type": "string"},
    container={"type": "string"},
    count={"type": "integer", "minimum": 1},
)
LIFECYCLE = exactly(
    phase={"enum": ["created", "starting", "running", "terminating", "stopping", "stopped"]},
    monitorPid={"type": ["integer", "null"], "minimum": 2},
    gracePeriodSeconds={"type": "number", "minimum": 0},
    stopSignal={"type": "string", "pattern": "^SIG[A-Z0-9+]+$"},
    profile={"const": "contract"},
    deadline=MAYBE_TIME,
    restartCount={"type": "integer", "minimum": 0},
)


def check(schema: dict[str, Any], document: Any) -> None:
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(document)]
    assert errors == [], f"{document}: {errors}"


def lived(lives: Lives, kind: str) -> int:
    """A life of that kind, to its end; how many hooks it had."""
    never = sh("read x </home/never")
    lives.fifo("never")
    if kind == "succeeded":
        lives.run(post_start=sh("echo hello"), pre_stop={"sleep": {"seconds": 1}})
        lives.follow().until("PostStartHookSucceeded")
    elif kind == "failed":
        lives.run(post_start={"exec": {"command": ["nothing"]}}, pre_stop=sh("kill -9 $$"))
    elif kind == "timedOut":
        lives.run(DEAF, post_start=sh("true"), pre_stop=never, grace=1)
        lives.follow().until("PostStartHookSucceeded")
    else:
        lives.run(post_start=never, pre_stop=sh("exit 3"))
    lives.rt.shim("stop", "c")
    lives.wait()
    return 2


@pytest.mark.parametrize("kind", ["succeeded", "failed", "timedOut", "interrupted"])
def test_hooks_and_events_have_exactly_the_documented_shape(lives: Lives, kind: str) -> None:
    count = lived(lives, kind)
    hooks = lives.hooks()
    assert len(hooks) == count
    assert kind in [hook["outcome"] for hook in hooks]
    for hook in hooks:
        check(DELIVERY, hook)
        assert list(hook) == list(DELIVERY["properties"]), "the order of the documented keys"
        assert hook["startedAt"] <= hook["finishedAt"]
    assert [hook["startedAt"] for hook in hooks] == sorted(hook["startedAt"] for hook in hooks)
    for event in lives.events():
        check(EVENT, event)
        assert event["container"] == "c"
        warning = event["reason"].startswith("Failed") or event["reason"] in (
            "PreStopHookTimeout",
            "KilledAfterGracePeriod",
        )
        assert (event["type"] == "Warning") is warning, event
    raw = lives.rt.shim("events", "--format", "json", "c").out
    assert all(isinstance(json.loads(line), dict) for line in raw.splitlines())
    assert raw.endswith("}\n")


def test_a_running_hook_has_nulls_where_nothing_is_known(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(post_start=sh("echo x >/home/begun; read x </home/never"))
    begun.line()
    hook = lives.hook()
    check(DELIVERY, hook)
    unknown = ("finishedAt", "durationSeconds", "outcome", "exitCode", "signal", "error")
    assert [hook[key] for key in unknown] == [None] * 6


def test_a_sleep_has_costs_that_are_unknown_not_zero(lives: Lives) -> None:
    lives.run(pre_stop={"sleep": {"seconds": 0}})
    lives.stop()
    hook = lives.hook()
    check(DELIVERY, hook)
    assert (hook["handler"], hook["outcome"], hook["exitCode"]) == ("sleep", "succeeded", None)
    assert set(hook["usage"].values()) <= {None}


def test_state_and_list_carry_the_lifecycle(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    hang = sh("echo x >/home/begun; read x </home/never")
    lives.run(post_start=sh("true"), pre_stop=hang, grace=9, stop_signal="SIGRTMIN+3", id="c")
    lives.follow().until("PostStartHookSucceeded")

    def both() -> dict[str, Any]:
        listed = json.loads(lives.rt.shim("list", "--format", "json").out)
        (entry,) = listed
        assert entry["lifecycle"] == lives.lifecycle()
        check(LIFECYCLE, entry["lifecycle"])
        found: dict[str, Any] = entry["lifecycle"]
        return found

    running = both()
    assert running["phase"] == "running"
    assert (running["gracePeriodSeconds"], running["stopSignal"]) == (9, "SIGRTMIN+3")
    assert (running["deadline"], running["restartCount"]) == (None, 0)
    lives.stop("--no-wait", "c")
    begun.line()
    terminating = both()
    assert terminating["phase"] == "terminating"
    assert terminating["deadline"] is not None
    lives.stop("--now", "c")
    stopped = both()
    assert (stopped["phase"], stopped["monitorPid"]) == ("stopped", None)
    assert lives.rt.shim("list").out.split("\n")[1].split()[3] == "stopped"


def test_a_container_without_hooks_has_no_lifecycle(lives: Lives) -> None:
    """null where there is none; `create` of a plain bundle is what an engine does."""
    bundle = lives.rt.bundle("sleep", "100")
    assert lives.rt.create("c", bundle).code == 0
    assert lives.rt.state("c")["lifecycle"] is None


def test_empty_lists_are_empty_lists(lives: Lives) -> None:
    assert json.loads(lives.rt.shim("list", "--format", "json").out) == []
    lives.run()
    raw = lives.rt.shim("hooks", "--format", "json", "c").out
    assert raw.strip() == "[]"


def test_hooks_follow_prints_each_delivery_once_it_has_ended(lives: Lives) -> None:
    lives.run(post_start=sh("echo one"), pre_stop=sh("echo two"))
    lives.follow().until("PostStartHookSucceeded")
    lives.stop()
    result = lives.rt.shim("hooks", "-f", "--format", "json", "c")
    found = [json.loads(line) for line in result.out.splitlines()]
    assert found == lives.hooks()
