"""Signal names: the machine's own table, the Kubernetes list, and nothing else."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.bundle.signals import RTMAX, RTMIN, parse_signal, signal_name


def test_the_table_is_the_machines() -> None:
    for entry in signal.Signals:
        assert parse_signal(entry.name) == entry.value
    assert (signal.SIGRTMIN, signal.SIGRTMAX) == (RTMIN, RTMAX)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("15", 15),
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigterm", 15),
        ("Term", 15),
        ("KILL", 9),
        ("9", 9),
        ("0", 0),
        ("64", 64),
        ("RTMIN", 34),
        ("SIGRTMIN+1", 35),
        ("rtmin+15", 49),
        ("RTMAX", 64),
        ("SIGRTMAX-14", 50),
        ("sigrtmax-1", 63),
        ("CLD", 17),
        ("POLL", 29),
        ("IOT", 6),
        ("RTMIN+0", 34),
        ("RTMIN+30", 64),
        ("09", 9),
    ],
)
def test_accepted(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIG",
        "999",
        "65",
        "-1",
        "+1",
        "1.0",
        " 15",
        "15 ",
        "TERM\n",
        "SIGSIGTERM",
        "SIGTERMX",
        "rtmin+40",
        "RTMIN+31",
        "RTMAX-31",
        "RTMIN-1",
        "RTMAX+1",
        "RTMIN+",
        "RTMIN+1a",
        "RTMIN+-1",
        "RTMIN+ 1",
        "RTMAX-0x1",
        "٣",
        "ＴERM",
        "ſIGTERM",
        "1" * 5000,
        "RTMIN+" + "1" * 5000,
        "0x9",
    ],
)
def test_in_30_no_such_signal(text: str) -> None:
    with pytest.raises(ValueError, match="unknown signal") as caught:
        parse_signal(text)
    assert len(str(caught.value)) < 200


@given(st.integers(1, RTMAX))
def test_a_name_is_read_back(number: int) -> None:
    name = signal_name(number)
    assert parse_signal(name) == number
    assert parse_signal(name.lower().removeprefix("sig")) == number


@given(st.text(max_size=12))
def test_any_text_is_a_signal_or_a_value_error(text: str) -> None:
    try:
        number = parse_signal(text)
    except ValueError:
        return
    assert 0 <= number <= RTMAX


def test_every_name_kubernetes_takes() -> None:
    classic = [
        "ABRT",
        "ALRM",
        "BUS",
        "CHLD",
        "CLD",
        "CONT",
        "FPE",
        "HUP",
        "ILL",
        "INT",
        "IO",
        "IOT",
        "KILL",
        "PIPE",
        "POLL",
        "PROF",
        "PWR",
        "QUIT",
        "SEGV",
        "STKFLT",
        "STOP",
        "SYS",
        "TERM",
        "TRAP",
        "TSTP",
        "TTIN",
        "TTOU",
        "URG",
        "USR1",
        "USR2",
        "VTALRM",
        "WINCH",
        "XCPU",
        "XFSZ",
    ]
    real_time = [f"RTMIN+{n}" for n in range(1, 16)] + [f"RTMAX-{n}" for n in range(1, 15)]
    names = [*classic, *real_time, "RTMIN", "RTMAX"]
    assert len(names) == 65
    assert all(parse_signal(f"SIG{name}") for name in names)


def test_real_time_names_are_those_of_kill_l() -> None:
    assert [signal_name(n) for n in (34, 35, 49, 50, 63, 64)] == [
        "SIGRTMIN",
        "SIGRTMIN+1",
        "SIGRTMIN+15",
        "SIGRTMAX-14",
        "SIGRTMAX-1",
        "SIGRTMAX",
    ]
    assert [signal_name(n) for n in (0, 32, 33, 65)] == ["0", "32", "33", "65"]
