"""The only seam to time (SECURITY.md ST-15): durations are CLOCK_MONOTONIC, what is written down
for another process is CLOCK_BOOTTIME with the boot id, and the wall clock is for people."""

from __future__ import annotations

import time


class Clock:
    """The real clocks; tests put a FakeClock in their place."""

    __slots__ = ()

    def now(self) -> float:
        """Seconds on CLOCK_MONOTONIC: does not run while the machine is suspended."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds on CLOCK_BOOTTIME, which any process of this boot can compare with."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, for display only."""
        return time.time_ns()

    def persist(self, deadline: float) -> float:
        """A deadline of now() as one of boottime()."""
        return deadline - self.now() + self.boottime()

    def restore(self, deadline: float) -> float:
        """The inverse. A stop may have been given more than the configured grace, so what was
        written down counts."""
        return deadline - self.boottime() + self.now()


CLOCK = Clock()
