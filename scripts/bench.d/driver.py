"""The monitor's own engine code, with a stopwatch: one exec hook for each request on stdin.

    python3 -I -S driver.py SITE-PACKAGES STATE-ROOT ID

The container has a preStop hook; it is delivered over and over, and nothing is stopped. Each line
"N" on stdin is answered by N pairs on one line, in microseconds: from the request to the reaped
exit, when the state machine is told; and until the delivery is written down and given back.
"""

from __future__ import annotations

import sys
from time import perf_counter

sys.path.append(sys.argv[1])

from shim.engine.delivery import Delivery
from shim.engine.kill import open_cgroup
from shim.engine.loop import Loop
from shim.engine.monitor import Monitor
from shim.model.container import Container
from shim.model.store import Store


class Stopwatch(Monitor):
    """A monitor that leaves its loop when a hook has finished."""

    __slots__ = ("finished",)

    def hook_finished(self, delivery: Delivery) -> None:
        """The process is reaped, and its tree is known to be gone."""
        self.finished = perf_counter()
        if delivery.outcome != "succeeded":
            raise SystemExit(f"driver: hook {delivery.outcome}: {delivery.error}")
        super().hook_finished(delivery)
        self.loop.running = False

    def sample(self) -> tuple[float, float]:
        """Deliver once."""
        handler = self.lifecycle.pre_stop
        if handler is None:
            raise SystemExit("driver: the container has no preStop hook")
        start = perf_counter()
        number, self.number = self.number, self.number + 1
        delivery = Delivery(self, "preStop", handler, 1, "api", number)
        self.deliveries[number] = delivery
        delivery.begin()
        self.loop.running = True
        self.loop.run()
        return self.finished - start, perf_counter() - start


def main() -> None:
    """Until end of file."""
    container = Container.load(Store(sys.argv[2]), sys.argv[3])
    monitor = Stopwatch(
        container.dir,
        container.state,
        Loop(),
        container.open_init(),
        open_cgroup(container),
        parent=False,
    )
    monitor.open()
    for line in sys.stdin:
        pairs = [monitor.sample() for _ in range(int(line))]
        print(*(f"{reaped * 1e6:.1f},{over * 1e6:.1f}" for reaped, over in pairs), flush=True)
    monitor.spawner.close()


main()
