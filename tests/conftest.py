"""For every tier."""

from __future__ import annotations

try:
    from hypothesis import settings
except ImportError:  # the vm tier runs without it
    pass
else:
    # Speed is proven by scripts/bench; a busy machine must not turn a property red.
    settings.register_profile("shim", deadline=None)
    settings.load_profile("shim")
