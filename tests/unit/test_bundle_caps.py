"""The capability table against the kernel's header and the machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.bundle.caps import CAPABILITIES, mask, names


def test_all_41() -> None:
    assert len(CAPABILITIES) == 41
    assert sorted(CAPABILITIES.values()) == list(range(41))
    assert CAPABILITIES["CAP_CHOWN"] == 0
    assert CAPABILITIES["CAP_SYS_ADMIN"] == 21
    assert CAPABILITIES["CAP_CHECKPOINT_RESTORE"] == 40


def test_the_table_is_the_kernel_headers() -> None:
    text = Path("/usr/include/linux/capability.h").read_text()
    defines = re.findall(r"^#define (CAP_[A-Z_]+)\s+(\d+)$", text, re.MULTILINE)
    assert {name: int(number) for name, number in defines} == CAPABILITIES


def test_the_running_kernel_has_no_others() -> None:
    assert int(Path("/proc/sys/kernel/cap_last_cap").read_text()) <= 40


@given(st.lists(st.sampled_from(sorted(CAPABILITIES)), unique=True))
def test_masks_and_names(chosen: list[str]) -> None:
    assert sorted(names(mask(chosen))) == sorted(chosen)


def test_unknown() -> None:
    with pytest.raises(KeyError, match="CAP_NOPE"):
        mask(["CAP_KILL", "CAP_NOPE"])
    assert names(1 << 41) == ["41"]
