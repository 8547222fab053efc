"""Times and durations as people read them. Never on the hot path: datetime is not cheap."""

from __future__ import annotations

from datetime import UTC, datetime


def epoch(text: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def age(seconds: float | None) -> str:
    """A duration as kubectl shows it: 5s, 3m20s, 10m, 2h5m, 3d; "<unknown>" for None."""
    if seconds is None:
        return "<unknown>"
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _two(days, "d", hours % 24, "h") if days < 8 else f"{days}d"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def seconds(value: object) -> str | None:
    """A measured duration: 850us, 12.3ms, 4.56s; None when it is not known."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if value < 0.001:
        return f"{value * 1e6:.0f}us"
    if value < 1:
        return f"{value * 1e3:.1f}ms"
    return f"{value:.2f}s" if value < 100 else f"{value:.0f}s"
