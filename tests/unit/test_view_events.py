"""Events: table, stream and kubectl's folding."""

from __future__ import annotations

from shim.view import events
from shim.view.times import epoch

NOW = epoch("2026-01-01T00:10:00Z") or 0.0


def event(time: str, reason: str, message: str = "m", type: str = "Normal") -> dict[str, object]:
    return {
        "time": f"2026-01-01T00:{time}.000000Z",
        "type": type,
        "reason": reason,
        "message": message,
        "container": "web",
        "count": 1,
    }


def test_table_escapes_messages() -> None:
    shown = events.as_table([event("00:01", "Created", "a\x1b[2Jb\nc")])
    assert shown == (
        "TIME                          TYPE     REASON    CONTAINER   MESSAGE\n"
        "2026-01-01T00:00:01.000000Z   Normal   Created   web         a\\e[2Jb\\nc\n"
    )


def test_stream_lines_up_with_its_header() -> None:
    header, line = events.stream_header(), events.as_line(event("00:01", "Created"))
    assert line.endswith("   m\n")
    assert header.index("MESSAGE") == len(line) - 2
    assert header.index("REASON") == line.index("Created")


def test_folded_as_kubectl_does() -> None:
    found = [
        event("00:00", "Created"),
        event("05:00", "Unhealthy", "probe failed", "Warning"),
        event("09:30", "Unhealthy", "probe failed", "Warning"),
        event("09:50", "Killing", "other"),
    ]
    assert events.folded(found, NOW) == (
        "Type     Reason     Age               From  Message\n"
        "----     ------     ---               ----  -------\n"
        "Normal   Created    10m               shim  m\n"
        "Warning  Unhealthy  30s (x2 over 5m)  shim  probe failed\n"
        "Normal   Killing    10s               shim  other\n"
    )


def test_counts_add_up() -> None:
    found = [{**event("00:00", "BackOff"), "count": 4}, event("00:10", "BackOff")]
    assert "(x5 over 10m)" in events.folded(found, NOW)


def test_no_events() -> None:
    assert events.folded([], NOW) == "<none>\n"
