"""The states of a container and which verb may act in which, in one place.

Two vocabularies: the OCI status (runtime.md "State", plus runc's `paused`), which every engine
reads, and the lifecycle phase (CONTRACT.md "Lifecycle semantics"), which knows about hooks and the
stop. The words of the errors are runc's, because engines match them.
"""

from __future__ import annotations

from shim.errors import NotRunningError, StateError

CREATING = "creating"
CREATED = "created"
RUNNING = "running"
PAUSED = "paused"
STOPPED = "stopped"

STATUSES: tuple[str, ...] = (CREATING, CREATED, RUNNING, PAUSED, STOPPED)

PHASES: tuple[str, ...] = (
    "created",
    "starting",
    "running",
    "terminating",
    "stopping",
    "stopped",
    "backoff",
)

TRANSITIONS: dict[str, frozenset[str]] = {
    "created": frozenset({"starting", "running", "terminating", "stopping", "stopped"}),
    "starting": frozenset({"running", "terminating", "stopping", "stopped", "backoff"}),
    "running": frozenset({"terminating", "stopping", "stopped", "backoff"}),
    "terminating": frozenset({"stopping", "stopped", "backoff"}),
    "stopping": frozenset({"stopped", "backoff"}),
    "stopped": frozenset({"backoff"}),
    "backoff": frozenset({"starting", "running", "stopped"}),
}
"""phase -> phases that may follow it. Only a restart policy leads out of `stopped`."""

_ALLOWED: dict[str, frozenset[str]] = {
    "start": frozenset({CREATED}),
    "kill": frozenset({CREATED, RUNNING, PAUSED}),
    "delete": frozenset({STOPPED}),
    "exec": frozenset({CREATED, RUNNING}),
    "pause": frozenset({CREATED, RUNNING}),
    "resume": frozenset({PAUSED}),
    "update": frozenset({CREATED, RUNNING, PAUSED}),
    "stop": frozenset({CREATED, RUNNING, PAUSED, STOPPED}),
}

_START_WORDS = {
    STOPPED: "cannot start a container that has stopped",
    RUNNING: "cannot start an already running container",
}


def check(verb: str, oci_status: str) -> None:
    """Raise StateError (or NotRunningError) when `verb` may not act on a container of that status.

    Verbs that act in every status (state, list, ps, wait, describe...) are not in the table and
    pass.
    """
    allowed = _ALLOWED.get(verb)
    if allowed is None or oci_status in allowed:
        return
    if verb == "start":
        words = _START_WORDS.get(oci_status)
        raise StateError(words or f"cannot start a container in the {oci_status} state")
    if verb == "delete":
        raise StateError(f"container is not stopped: {oci_status}")
    if oci_status == CREATING:
        raise StateError("container is still being created")
    if verb == "resume":
        raise StateError("container not paused")
    if verb == "exec" and oci_status == PAUSED:
        raise StateError("cannot exec in a paused container (use --ignore-paused to override)")
    raise NotRunningError()


def check_transition(phase: str, to: str) -> None:
    """Raise StateError when a container in `phase` cannot get into phase `to`."""
    if to not in TRANSITIONS.get(phase, frozenset()):
        raise StateError(f"phase cannot change from {phase} to {to}")
