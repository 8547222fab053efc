"""The countdown of a stop: pure formatting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.view import countdown


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("web", "terminating", 26.8, 30.0),
         "web: preStop | SIGKILL in 26.8s [##------------------]"),
        (("web", "stopping", 0.04, 30.0),
         "web: stop signal sent | SIGKILL in 0.0s [####################]"),
        (("web", "stopping", -3.0, 30.0),
         "web: stop signal sent | SIGKILL in 0.0s [####################]"),
        (("web", "stopping", 5.0, None), "web: stop signal sent | SIGKILL in 5.0s"),
        (("web", "terminating", None, None), "web: preStop"),
        (("web", "stopped", 5.0, 30.0), "web: stopped"),
        (("web", "starting", 5.0, 0.0), "web: starting | SIGKILL in 5.0s"),
    ],
)  # fmt: skip
def test_live(args: tuple[str, str, float | None, float | None], line: str) -> None:
    assert countdown.live(*args) == line


def test_plain() -> None:
    assert countdown.plain("web", "terminating", 30.0) == "web: preStop, SIGKILL in 30.0s\n"
    assert countdown.plain("web", "stopped", 3.0) == "web: stopped\n"


@given(st.lists(st.text(max_size=50), min_size=1), st.integers(20, 200))
def test_several_never_wrap(lines: list[str], columns: int) -> None:
    assert len(countdown.joined(lines, columns)) < columns


@given(st.floats(-10, 1e6), st.floats(0, 1e6))
def test_the_bar_has_one_length(left: float, total: float) -> None:
    text = countdown.live("web", "stopping", left, total)
    if total:
        assert len(text.rpartition("[")[2]) == 21
