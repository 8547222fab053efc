"""`shim describe`: kubectl describe's shape, fed by the state and the journal."""

from __future__ import annotations

from shim.view import events as event_view
from shim.view import hooks as hook_view
from shim.view.table import NONE, indent
from shim.view.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WIDTH = 14


def describe(facts: dict[str, Any], now: float) -> str:
    """All about one container. `now` is in seconds since the epoch.

    `facts` are: oci (what `state` prints), state (the state file), phase, deliveries, events, and
    network (devices as in kernel.netdev, None when it is the host's or the container has ended).
    """
    parts = [
        _block(_about(facts)),
        _network(facts.get("network")),
        _exit(facts["state"].get("exit")),
        _lifecycle(facts["state"].get("lifecycle")),
        _section("Hooks", hook_view.as_table(facts["deliveries"]) if facts["deliveries"] else ""),
        _section("Events", event_view.folded(facts["events"], now) if facts["events"] else ""),
    ]
    return "".join(parts)


def _about(facts: dict[str, Any]) -> list[tuple[str, object]]:
    oci, state = facts["oci"], facts["state"]
    started = [event["time"] for event in facts["events"] if event["reason"] == "Started"]
    return [
        ("Name", oci["id"]),
        ("Status", oci["status"]),
        ("Phase", facts["phase"]),
        ("PID", oci["pid"] or None),
        ("Monitor", (oci["lifecycle"] or {}).get("monitorPid")),
        ("Bundle", oci["bundle"]),
        ("Root", oci["rootfs"]),
        ("Cgroup", (state.get("cgroup") or {}).get("path")),
        ("Created", oci["created"]),
        ("Started", started[-1] if started else None),
        ("Deadline", (oci["lifecycle"] or {}).get("deadline")),
        ("Restarts", state.get("restartCount", 0)),
        ("Annotations", _annotations(oci["annotations"])),
    ]


def _annotations(annotations: dict[str, Any]) -> str | None:
    pad = "\n" + " " * _WIDTH
    return pad.join(escape(f"{key}={value}") for key, value in sorted(annotations.items())) or None


def _block(fields: list[tuple[str, object]], by: int = 0) -> str:
    width = _WIDTH - by
    lines = []
    for name, value in fields:
        shown = NONE if value is None or value == "" else str(value)
        # the one multi-line value is escaped where it is made
        text = shown if name == "Annotations" else escape(shown)
        lines.append(f"{' ' * by}{name + ':':<{width}}{text}\n")
    return "".join(lines)


def _section(title: str, text: str) -> str:
    return f"{title}:\n{indent(text)}" if text else f"{title + ':':<{_WIDTH}}{NONE}\n"


def _network(devices: list[dict[str, Any]] | None) -> str:
    if devices is None:
        return ""
    lines = [
        f"{device['name']}  {device['state']}  {' '.join(device['addresses']) or NONE}\n"
        for device in devices
    ]
    return _section("Network", escape_lines("".join(lines)))


def escape_lines(text: str) -> str:
    """escape, line by line: names of devices are the container's to choose."""
    return "".join(escape(line) + "\n" for line in text.splitlines())


def _exit(end: dict[str, Any] | None) -> str:
    if not end:
        return _section("Exit", "")
    fields = [
        ("Code", end.get("exitCode")),
        ("Signal", end.get("signal")),
        ("Reason", end.get("reason")),
        ("Finished", end.get("at")),
    ]
    return "Exit:\n" + _block(fields, by=2)


def _lifecycle(lifecycle: dict[str, Any] | None) -> str:
    if not lifecycle:
        return _section("Lifecycle", "")
    grace = lifecycle.get("terminationGracePeriodSeconds")
    fields = [
        ("postStart", handler(lifecycle.get("postStart"))),
        ("preStop", handler(lifecycle.get("preStop"))),
        ("stopSignal", lifecycle.get("stopSignal")),
        ("grace", None if grace is None else f"{grace}s"),
        ("profile", lifecycle.get("profile")),
        ("restart", lifecycle.get("restartPolicy")),
        ("source", lifecycle.get("source")),
    ]
    return "Lifecycle:\n" + _block(fields, by=2)


def handler(value: dict[str, Any] | None) -> str | None:
    """A handler in one line, as kubectl writes a probe: `exec [nginx -s quit]`, `sleep 5s`."""
    if not value:
        return None
    if "exec" in value:
        text = f"exec [{' '.join(str(word) for word in value['exec'].get('command', []))}]"
    else:
        text = f"sleep {value.get('sleep', {}).get('seconds')}s"
    timeout = value.get("timeoutSeconds")
    if timeout is not None:
        text += f" timeout={timeout}s"
    limits = value.get("resources") or {}
    return text + "".join(f" {name}={limits[name]}" for name in sorted(limits))
