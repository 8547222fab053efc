"""The status table: which verb may act when, in runc's words."""

from __future__ import annotations

import pytest

from shim.errors import NotRunningError, StateError
from shim.model import status


@pytest.mark.parametrize(
    ("verb", "now", "kind", "words"),
    [
        ("start", "running", StateError, "cannot start an already running container"),
        ("start", "stopped", StateError, "cannot start a container that has stopped"),
        ("start", "paused", StateError, "cannot start a container in the paused state"),
        ("kill", "stopped", NotRunningError, "container not running"),
        ("kill", "creating", StateError, "container is still being created"),
        ("delete", "running", StateError, "container is not stopped: running"),
        ("exec", "stopped", NotRunningError, "container not running"),
        ("exec", "paused", StateError, "cannot exec in a paused container"),
        ("pause", "stopped", NotRunningError, "container not running"),
        ("resume", "running", StateError, "container not paused"),
    ],
)
def test_refused(verb: str, now: str, kind: type[StateError], words: str) -> None:
    with pytest.raises(kind, match=words):
        status.check(verb, now)


@pytest.mark.parametrize(
    ("verb", "now"),
    [
        ("start", "created"),
        ("kill", "created"),
        ("kill", "paused"),
        ("delete", "stopped"),
        ("exec", "running"),
        ("pause", "running"),
        ("resume", "paused"),
        ("stop", "stopped"),
        ("state", "creating"),
    ],
)
def test_allowed(verb: str, now: str) -> None:
    status.check(verb, now)


def test_every_phase_is_in_the_table_and_every_target_is_a_phase() -> None:
    assert set(status.TRANSITIONS) == set(status.PHASES)
    for targets in status.TRANSITIONS.values():
        assert targets <= set(status.PHASES)


def test_every_phase_but_backoff_leads_to_stopped() -> None:
    for phase in status.PHASES:
        if phase != "stopped":
            status.check_transition(phase, "stopped")


def test_a_stopped_container_never_runs_again_without_backoff() -> None:
    with pytest.raises(StateError, match="stopped to running"):
        status.check_transition("stopped", "running")
