"""The mount option table, option by option, and the rules around mounts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.bundle_support import refused_with, spec_with, unsupported_with

from shim.bundle import mounts
from shim.bundle.mounts import SUPPORTED, UnsupportedOptionError, parse_options

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
ATIME, NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x70, 0x10, 0x20, 0x80, 0x200000

ATTRIBUTES = {  # option: (set, clear)
    "ro": (RDONLY, 0),
    "rw": (0, RDONLY),
    "nosuid": (NOSUID, 0),
    "suid": (0, NOSUID),
    "nodev": (NODEV, 0),
    "dev": (0, NODEV),
    "noexec": (NOEXEC, 0),
    "exec": (0, NOEXEC),
    "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME),
    "nosymfollow": (NOSYMFOLLOW, 0),
    "symfollow": (0, NOSYMFOLLOW),
    "noatime": (NOATIME, ATIME),
    "strictatime": (STRICTATIME, ATIME),
    "relatime": (0, ATIME),
    "atime": (0, ATIME),
    "nostrictatime": (0, ATIME),
    "norelatime": (0, 0),
}

PROPAGATION = {
    "private": 1 << 18,
    "rprivate": 1 << 18 | 1 << 14,
    "shared": 1 << 20,
    "rshared": 1 << 20 | 1 << 14,
    "slave": 1 << 19,
    "rslave": 1 << 19 | 1 << 14,
    "unbindable": 1 << 17,
    "runbindable": 1 << 17 | 1 << 14,
}

# runtime-spec 1.3 config.md, "Linux mount options": every one in the table but the id-mapped two.
SPECIFICATION = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
]


@pytest.mark.parametrize("option", ATTRIBUTES)
def test_attribute(option: str) -> None:
    options = parse_options([option])
    assert (options.attr_set, options.attr_clr) == ATTRIBUTES[option]
    assert (options.rec_set, options.rec_clr, options.propagation, options.data) == (0, 0, 0, [])


@pytest.mark.parametrize("option", ATTRIBUTES)
def test_recursive_attribute(option: str) -> None:
    options = parse_options([f"r{option}"])
    assert (options.rec_set, options.rec_clr) == ATTRIBUTES[option]
    assert (options.attr_set, options.attr_clr, options.sb_flags, options.data) == (0, 0, [], [])


@pytest.mark.parametrize("option", PROPAGATION)
def test_propagation(option: str) -> None:
    assert parse_options([option]).propagation == PROPAGATION[option]
    assert parse_options(["rbind", option, option]).propagation == PROPAGATION[option]


def test_two_propagations_are_refused() -> None:
    with pytest.raises(UnsupportedOptionError, match="'shared' after another propagation"):
        parse_options(["slave", "shared"])


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (["sync"], ["sync"]),
        (["sync", "async"], []),
        (["async", "sync"], ["sync"]),
        (["ro"], ["ro"]),
        (["ro", "rw"], []),
        (["dirsync", "lazytime", "mand"], ["dirsync", "lazytime", "mand"]),
        (["mand", "nomand", "lazytime", "nolazytime"], []),
        (["ro", "ro"], ["ro"]),
    ],
)
def test_super_block_flags(options: list[str], flags: list[str]) -> None:
    parsed = parse_options(options)
    assert (parsed.sb_flags, parsed.data) == (flags, [])


@pytest.mark.parametrize("option", ["defaults", "silent", "loud", "noiversion"])
def test_options_that_change_nothing(option: str) -> None:
    parsed, nothing = parse_options([option]), parse_options([])
    assert all(getattr(parsed, name) == getattr(nothing, name) for name in parsed.__slots__)


def test_flags_of_shim() -> None:
    bind, rbind = parse_options(["bind"]), parse_options(["rbind"])
    assert (bind.bind, bind.recursive) == (True, False)
    assert (rbind.bind, rbind.recursive) == (True, True)
    assert parse_options(["remount", "ro"]).remount
    assert parse_options(["tmpcopyup"]).tmpcopyup


def test_everything_else_is_data_in_order() -> None:
    options = ["mode=755", "size=65536k", "nosuid", "newinstance", "iversion", "x=", "a,b", "RO"]
    parsed = parse_options(options)
    assert parsed.data == ["mode=755", "size=65536k", "newinstance", "iversion", "x=", "a,b", "RO"]
    assert parsed.attr_set == NOSUID


@pytest.mark.parametrize("option", ["idmap", "ridmap", "idmap=uids=0-1-10"])
def test_id_mapped_mounts_are_refused_by_name(option: str) -> None:
    with pytest.raises(UnsupportedOptionError, match="not supported by this version"):
        parse_options(["bind", option])
    unsupported_with("/mounts/1/options", ["ro", option], "/mounts/1/options/1")


@pytest.mark.parametrize("option", ["", "a\0b"])
def test_malformed(option: str) -> None:
    refused_with("/mounts/1/options", ["ro", option], at="/mounts/1/options/1")


def test_the_specification_is_covered() -> None:
    assert set(SPECIFICATION) == set(SUPPORTED)
    assert list(SUPPORTED) == sorted(SUPPORTED)
    for option in SUPPORTED:
        assert parse_options([option]).data == (["iversion"] if option == "iversion" else [])


def test_constants_are_the_kernel_headers() -> None:
    text = Path("/usr/include/linux/mount.h").read_text()
    values = dict(
        re.findall(r"^#define (M\w+)\s+(?:\()?(0x[0-9A-Fa-f]+|\d+<<\d+)", text, re.MULTILINE)
    )
    checked = 0
    for name in vars(mounts):
        if name.startswith(("MOUNT_ATTR_", "MS_")) and name in values:
            left, _, shift = values[name].partition("<<")
            assert getattr(mounts, name) == int(left, 0) << int(shift or 0), name
            checked += 1
    assert checked >= 12


@given(st.lists(st.sampled_from(SUPPORTED).filter(lambda name: name not in PROPAGATION)))
def test_masks_are_what_mount_setattr_takes(options: list[str]) -> None:
    """mount_setattr(2): EINVAL for an access time without the whole field in attr_clr."""
    parsed = parse_options(options)
    for on, off in ((parsed.attr_set, parsed.attr_clr), (parsed.rec_set, parsed.rec_clr)):
        assert on & off & ~ATIME == 0
        assert off & ATIME in (0, ATIME)
        assert not on & ATIME or off & ATIME == ATIME
        assert on & ATIME in (0, NOATIME, STRICTATIME)


@given(st.sampled_from(sorted(ATTRIBUTES)), st.sampled_from(sorted(ATTRIBUTES)))
def test_the_last_option_wins(first: str, second: str) -> None:
    both, last = parse_options([first, second]), parse_options([second])
    assert both.attr_set & last.attr_set == last.attr_set
    assert both.attr_set & last.attr_clr == last.attr_set & last.attr_clr


def test_type_is_bind_whenever_the_options_say_so() -> None:
    base = {"destination": "/a", "source": "/b"}
    for mount in (
        {**base, "options": ["bind"]},
        {**base, "type": "none", "options": ["rbind"]},
        {**base, "type": "bind", "options": ["rbind", "ro"]},
        {**base, "type": "bind"},
    ):
        assert spec_with("/mounts/0", mount).mounts[0].type == "bind"


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"destination": "/a", "source": "/b"}, "type is required"),
        ({"destination": "/a", "type": "bind"}, "needs a source"),
        ({"destination": "/a", "options": ["bind"]}, "needs a source"),
        ({"destination": "/a", "type": "bind", "source": "/b", "options": ["mode=1"]}, "mode=1"),
        ({"destination": "/a", "type": "tmpfs", "options": ["ephemeral"]}, "type overlay only"),
        ({"destination": "/", "type": "overlay", "options": ["ephemeral"]}, "exactly one lowerdir"),
        (
            {"destination": "/", "type": "overlay", "options": ["lowerdir=x", "ephemeral"]},
            "exactly one lowerdir",
        ),
    ],
)
def test_mounts_that_make_no_sense(mount: dict[str, object], words: str) -> None:
    refused_with("/mounts/0", mount, words)


def test_propagation_and_remount_need_no_type() -> None:
    for options in (["rslave"], ["remount", "ro"]):
        mount = {"destination": "/a", "options": options}
        assert spec_with("/mounts/0", mount).mounts[0].options == options


@pytest.mark.parametrize("field", ["uidMappings", "gidMappings"])
def test_mappings_of_a_mount_are_refused_by_name(field: str) -> None:
    value = [{"containerID": 0, "hostID": 0, "size": 1}]
    unsupported_with(f"/mounts/0/{field}", value)
    assert spec_with(f"/mounts/0/{field}", []).mounts
