"""The module signal without the enum layer on top: plain integers, and a start-up that is shorter
by the price of enum (MODELS.md, "The price of an import"). Use: `from shim.kernel.sig import
signal`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signal
else:
    import _signal as signal

__all__ = ["signal"]
