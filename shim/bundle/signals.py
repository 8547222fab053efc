"""Signal names and numbers of Linux (asm-generic; the same on x86, arm, riscv, s390, ppc).

RTMIN is glibc's 34, as in kill(1), docker and the Kubernetes API; the kernel's own 32 and 33 belong
to the thread library and can only be given as numbers.
"""

from __future__ import annotations

RTMIN, RTMAX = 34, 64

_NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
    "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)  # fmt: skip
_NUMBERS = {name: number for number, name in enumerate(_NAMES, 1)}
_NUMBERS.update(CLD=17, POLL=29, IOT=6, RTMIN=RTMIN, RTMAX=RTMAX)


def parse_signal(text: str) -> int:
    """The number of "15", "TERM", "sigterm", "RTMIN+3" or "SIGRTMAX-1"; 0 to 64.

    0 sends nothing and only asks whether the process is there, as kill(2). ValueError: no such
    signal.
    """
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) < 4 else RTMAX + 1
        if number > RTMAX:
            raise ValueError(f"unknown signal {text[:32]!r}")
        return number
    name = text.upper().removeprefix("SIG") if text.isascii() else ""
    found = _NUMBERS.get(name)
    if found is not None:
        return found
    for base, sign, first in (("RTMIN+", 1, RTMIN), ("RTMAX-", -1, RTMAX)):
        offset = name.removeprefix(base)
        if name.startswith(base) and offset.isdigit() and len(offset) < 3:
            number = first + sign * int(offset)
            if RTMIN <= number <= RTMAX:
                return number
    raise ValueError(f"unknown signal {text[:32]!r}")


def signal_name(number: int) -> str:
    """ "SIGTERM" for 15, "SIGRTMIN+1" for 35; a number without a name is rendered as itself."""
    if 1 <= number <= len(_NAMES):
        return f"SIG{_NAMES[number - 1]}"
    if number in (RTMIN, RTMAX):
        return "SIGRTMIN" if number == RTMIN else "SIGRTMAX"
    if RTMIN < number <= RTMIN + 15:
        return f"SIGRTMIN+{number - RTMIN}"
    if RTMIN < number < RTMAX:
        return f"SIGRTMAX-{RTMAX - number}"
    return str(number)
