"""`events --stats`: runc's statistics events, one JSON object a line."""

from __future__ import annotations

import os
import select
import sys

from shim.cli.report import out
from shim.errors import NotRunningError, UsageError
from shim.model import status
from shim.model.container import Container
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args

DEFAULT_SECONDS = 5.0
_UNITS = (("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("s", 1.0), ("m", 60.0), ("h", 3600.0))


def run(args: Args) -> int:
    """Print the statistics once, as runc does; with -f again every --interval until the container
    has stopped. NotRunningError when it has already."""
    from shim.cli.measure import numbers
    from shim.view.json import line
    from shim.view.stats import oci_event

    if args.id is None:
        raise UsageError("ID is missing: --stats is about one container")
    every = DEFAULT_SECONDS if args.interval is None else duration(args.interval)
    container = Container.load(Store(args.root), args.id)
    if container.status() in (status.STOPPED, status.CREATING):
        raise NotRunningError()
    init = container.open_init()
    try:
        poller = select.poll()
        poller.register(init, select.POLLIN)
        while True:
            out(line(oci_event(args.id, numbers(container))))
            if sys.stdout is not None:
                sys.stdout.flush()
            if not args.follow or poller.poll(every * 1000):
                return 0
    finally:
        os.close(init)


def duration(text: str) -> float:
    """Seconds of a Go duration such as 500ms, 5s or 1m30s; UsageError."""
    total, rest = 0.0, text
    while rest:
        length = next((i for i, char in enumerate(rest) if char not in "0123456789."), len(rest))
        number, rest = rest[:length], rest[length:]
        unit = next(((name, value) for name, value in _UNITS if rest.startswith(name)), None)
        if unit is None or not number.replace(".", "", 1).isdigit() or length > 12:
            break
        total += float(number) * unit[1]
        rest = rest[len(unit[0]) :]
    if rest or not 0.001 <= total <= 86400:
        raise UsageError(f"flag --interval: {text!r} is not a time such as 500ms or 5s (up to 24h)")
    return total
