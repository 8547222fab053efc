"""What a process does to itself to supervise others (prctl(2)); python-prctl wraps it well."""

from __future__ import annotations

import prctl


def become(name: str) -> None:
    """Be named `name` in ps, and adopt the orphans of our descendants, so that whatever a hook
    leaves behind outside the container's pid namespace is reaped here (PR_SET_CHILD_SUBREAPER)."""
    prctl.set_name(name)
    prctl.set_child_subreaper(1)
