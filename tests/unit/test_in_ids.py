"""SECURITY.md IN-01..03, CV-17: container ids, before any path is built from them."""

from __future__ import annotations

import pytest

from shim.errors import ShimError
from shim.paths import ID_MAX, check_id


def assert_refused(name: str) -> None:
    with pytest.raises(ShimError, match="invalid container ID format") as caught:
        check_id(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../x", "/", "/etc", "a/..", "./a"])
def test_in_01_paths_are_no_ids(name: str) -> None:
    assert_refused(name)


@pytest.mark.parametrize(
    "name", ["a b", "a\nb", "a\n", "é", ";rm", "%s%n", "-rf", ".hidden", "+a", "a\0b", "a:b", "٣"]
)
def test_in_02_odd_characters(name: str) -> None:
    assert_refused(name)


@pytest.mark.parametrize("name", ["a", "_", "0", "web-1.2+3", "A" * ID_MAX])
def test_in_02_ordinary_ids_pass_unchanged(name: str) -> None:
    assert check_id(name) == name


@pytest.mark.parametrize("length", [ID_MAX + 1, 255, 256, 100_000])
def test_in_03_long_ids(length: int) -> None:
    assert_refused("a" * length)


def test_in_03_the_message_of_a_long_id_is_short() -> None:
    with pytest.raises(ShimError) as caught:
        check_id("b" * 100_000)
    assert len(str(caught.value)) < 250
