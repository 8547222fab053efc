"""SECURITY.md section 5, the rows that config.json decides: one test a row, at the parser."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from unit.bundle_support import (
    ABSENT,
    changed,
    refused,
    refused_with,
    spec_with,
    unsupported_with,
)

from shim.bundle.files import MAX_BYTES, read_regular
from shim.bundle.load import load
from shim.bundle.make import spec_document
from shim.bundle.spec import parse, parse_process
from shim.errors import InputError

GOOD = json.dumps(spec_document())


def test_in_04_duplicate_keys() -> None:
    twice = GOOD.replace('"args": ["sh"]', '"args": ["sh"], "args": ["id"]')
    assert twice != GOOD
    refused(twice.encode(), "/process/args", "duplicate key")


def test_in_04_duplicate_keys_spelled_differently() -> None:
    twice = GOOD.replace('"args": ["sh"]', '"args": ["sh"], "\\u0061rgs": ["id"]')
    refused(twice.encode(), "/process/args", "duplicate key")


def test_in_04_duplicate_keys_with_equal_values() -> None:
    twice = GOOD.replace('"cwd": "/"', '"cwd": "/", "cwd": "/"')
    refused(twice.encode(), "/process/cwd", "duplicate key")


@pytest.mark.parametrize(
    "pointer",
    [
        "/Process",
        "/LINUX",
        "/process/Args",
        "/process/ARGS",
        "/process/user/UID",
        "/process/noNewprivileges",
        "/root/readOnly",
        "/linux/seccomP",
        "/process/arg\u017f",  # LATIN SMALL LETTER LONG S: Go folds it to "s"
    ],
)
def test_in_04_case_variants(pointer: str) -> None:
    refused_with(pointer, ["id"], "did you mean")


def test_in_04_case_variants_are_data_in_maps() -> None:
    spec = spec_with("/annotations", {"a": "1", "A": "2"})
    assert spec.annotations == {"a": "1", "A": "2"}


@pytest.mark.parametrize("field", ["/process/user/uid", "/process/user/gid"])
def test_in_05_uid_minus_one(field: str) -> None:
    refused_with(field, 2**32 - 1, "4294967294")


def test_in_05_additional_gid_minus_one() -> None:
    value = [5, 2**32 - 1]
    refused_with("/process/user/additionalGids", value, at="/process/user/additionalGids/1")


def test_in_05_the_highest_id_passes() -> None:
    process = spec_with("/process/user", {"uid": 2**32 - 2, "gid": 2**32 - 2}).process
    assert process is not None
    assert (process.uid, process.gid) == (2**32 - 2, 2**32 - 2)


@pytest.mark.parametrize(
    "text", ["-1", "4294967296", "1.5", "1.0", "1e3", "true", '"0"', "[]", "{}"]
)
def test_in_06_uid_that_is_no_uid(text: str) -> None:
    refused(GOOD.replace('"uid": 0', f'"uid": {text}').encode(), "/process/user/uid")


@pytest.mark.parametrize("tail", ["x", "{}", GOOD, "]", ",", "\0", "// comment"])
def test_in_07_trailing_garbage(tail: str) -> None:
    refused((GOOD + tail).encode(), "", "line 1 column")


def test_in_07_trailing_white_space_is_fine() -> None:
    assert parse((GOOD + " \n\t\r\n").encode()).root.path == "rootfs"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"null",
        b"[]",
        b"1",
        b'"{}"',
        b"\xef\xbb\xbf" + GOOD.encode(),
        b"\0",
        GOOD.encode("utf-16"),
        b'{"ociVersion": NaN}',
        b'{"ociVersion": -Infinity}',
        b'{"ociVersion": 1e999}',
        b'{"ociVersion": ' + b"1" * 10_000 + b"}",
        b"{'a': 1}",
        b'{"a": 01}',
    ],
)
def test_in_08_not_a_document(data: bytes) -> None:
    refused(data, "")


@pytest.mark.parametrize("size", [1, 10, 100, 1000, len(GOOD) - 1])
def test_in_08_truncated(size: int) -> None:
    refused(GOOD.encode()[:size], "")


def test_in_08_nul_byte_in_a_string() -> None:
    refused(GOOD.replace('"sh"', '"s\0h"').encode(), "")


@pytest.mark.parametrize("text", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_in_09_invalid_utf8(text: bytes) -> None:
    refused(GOOD.encode().replace(b'"sh"', b'"' + text + b'"'), "", "invalid UTF-8 at byte")


def test_in_09_lone_surrogate() -> None:
    refused(GOOD.replace('"sh"', r'"\ud800"').encode(), "/process/args/0", "surrogate")
    refused(changed("/annotations", {"\udc00": "x"}), "/annotations", "surrogate")


def test_in_09_escaped_pair_is_a_character() -> None:
    process = parse(GOOD.replace('"sh"', r'"\ud83d\ude00"').encode()).process
    assert process is not None
    assert process.args == ["\U0001f600"]


@pytest.mark.parametrize("depth", [64, 100, 1000, 100_000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_in_10_nesting(depth: int, start: str, end: str) -> None:
    middle = start * depth + "1" + end * depth
    refused(f'{GOOD[:-1]}, "x": {middle}}}'.encode(), "", "nested deeper than 64 levels")


def test_in_10_the_deepest_allowed_nesting() -> None:
    assert parse(f'{GOOD[:-1]}, "x": {"[" * 63}{"]" * 63}}}'.encode()).hostname == "shim"


def test_in_11_size_cap(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="larger than 4194304 bytes"):
        read_regular(str(path))
    refused(b" " * (MAX_BYTES + 1), "", "larger than")
    path.write_bytes(b" " * MAX_BYTES)
    assert len(read_regular(str(path))) == MAX_BYTES


def test_in_11_a_hostile_document_of_full_size_is_answered_in_time() -> None:
    options = ["ro"] * 500_000
    start = time.process_time()
    refused(changed("/mounts/0/options", [*options, "idmap"]), "/mounts/0/options/500000")
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("pointer", "value", "at"),
    [
        ("/process/args", ["sh", "a\0b"], "/process/args/1"),
        ("/process/env", ["A=1", "B=\0"], "/process/env/1"),
        ("/process/cwd", "/\0", None),
        ("/hostname", "a\0b", None),
        ("/root/path", "root\0fs", None),
        ("/mounts/0/source", "pr\0oc", None),
        ("/mounts/0/options", ["size=1\0"], "/mounts/0/options/0"),
        ("/annotations", {"a": "\0"}, "/annotations/a"),
        ("/linux/cgroupsPath", "/a\0", None),
        ("/linux/maskedPaths", ["/a\0"], "/linux/maskedPaths/0"),
    ],
)
def test_in_12_nul(pointer: str, value: object, at: str | None) -> None:
    refused_with(pointer, value, "NUL", at)


@pytest.mark.parametrize("text", ["", "A", "=", "=value", "=A=B"])
def test_in_13_env_without_a_name(text: str) -> None:
    refused_with("/process/env", ["OK=1", text], "NAME=VALUE", at="/process/env/1")


def test_in_13_env_values_may_be_anything() -> None:
    process = spec_with("/process/env", ["A=", "B==", "C=a\nb", "D=é"]).process
    assert process is not None
    assert process.env == ["A=", "B==", "C=a\nb", "D=é"]


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ([], "/process/args"),
        ([""], "/process/args/0"),
        ("str", "/process/args"),
        ([None], "/process/args/0"),
        ([1], "/process/args/0"),
        ({"0": "sh"}, "/process/args"),
        (None, "/process/args"),
        (["sh", ["x"]], "/process/args/1"),
        (ABSENT, "/process/args"),
    ],
)
def test_in_14_args(value: object, at: str) -> None:
    refused_with("/process/args", value, at=at)


@pytest.mark.parametrize("value", ["", ".", "tmp", "./x", "~", None, ABSENT, 3])
def test_in_15_cwd(value: object) -> None:
    refused_with("/process/cwd", value)


@pytest.mark.parametrize("name", ["CAP_NOPE", "cap_chown", "CHOWN", "ALL", "", "CAP_", "41"])
@pytest.mark.parametrize("kind", ["bounding", "effective", "permitted", "inheritable", "ambient"])
def test_in_16_unknown_capability(kind: str, name: str) -> None:
    at = f"/process/capabilities/{kind}/1"
    refused_with(f"/process/capabilities/{kind}", ["CAP_KILL", name], "unknown capability", at)


@pytest.mark.parametrize(
    ("value", "at", "words"),
    [
        (
            {"type": "RLIMIT_NOPE", "soft": 1, "hard": 1},
            "/process/rlimits/0/type",
            "unknown rlimit",
        ),
        ({"type": "NOFILE", "soft": 1, "hard": 1}, "/process/rlimits/0/type", "unknown rlimit"),
        (
            {"type": "RLIMIT_CPU", "soft": 2, "hard": 1},
            "/process/rlimits/0",
            "above the hard limit",
        ),
        ({"type": "RLIMIT_CPU", "soft": -1, "hard": 1}, "/process/rlimits/0/soft", "from 0"),
        ({"type": "RLIMIT_CPU", "soft": 0, "hard": 2**64}, "/process/rlimits/0/hard", "from 0"),
        ({"type": "RLIMIT_CPU", "soft": 0}, "/process/rlimits/0/hard", "required"),
    ],
)
def test_in_17_rlimits(value: dict[str, Any], at: str, words: str) -> None:
    refused_with("/process/rlimits", [value], words, at)


def test_in_17_duplicate_rlimit() -> None:
    limit = {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}
    refused_with("/process/rlimits", [limit, limit], "duplicate", "/process/rlimits/1/type")


@pytest.mark.parametrize("name", ["net", "mnt", "PID", "", "cgroup2", "sysvipc"])
def test_in_17_unknown_namespace(name: str) -> None:
    value = [{"type": "mount"}, {"type": name}]
    refused_with("/linux/namespaces", value, "must be one of", "/linux/namespaces/1/type")


def test_in_17_duplicate_namespace() -> None:
    value = [{"type": "mount"}, {"type": "pid"}, {"type": "pid", "path": "/proc/1/ns/pid"}]
    refused_with("/linux/namespaces", value, "duplicate namespace pid", "/linux/namespaces/2/type")


@pytest.mark.parametrize(
    "version", ["9.9.9", "0.2.0", "2.0.0", "", "garbage", "1", "1.0", "1.0.x", "١.0.0"]
)
def test_in_18_oci_version(version: str) -> None:
    refused_with("/ociVersion", version)


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.3.0", "1.3.1+build.5", "1.99.0-rc.1"])
def test_in_18_versions_of_major_1(version: str) -> None:
    assert spec_with("/ociVersion", version).oci_version == version


def test_in_18_missing() -> None:
    refused_with("/ociVersion", ABSENT, "required")


def bundle(path: Path, root: str = "rootfs") -> Path:
    (path / "config.json").write_text(json.dumps(changed("/root/path", root)))
    return path


def test_in_19_root_missing_or_no_directory(tmp_path: Path) -> None:
    bundle(tmp_path)
    with pytest.raises(InputError, match=r"config\.json: /root/path: .*no such file or directory"):
        load(str(tmp_path))
    (tmp_path / "rootfs").write_text("")
    with pytest.raises(InputError, match=r"config\.json: /root/path: .*not a directory"):
        load(str(tmp_path))


def test_in_19_root_that_is_a_symlink_is_followed_once(tmp_path: Path) -> None:
    """Documented: allowed, as for crun; the engine opens it once and works by descriptor."""
    (tmp_path / "real").mkdir()
    (tmp_path / "rootfs").symlink_to("real")
    assert load(str(bundle(tmp_path))).rootfs == str(tmp_path / "rootfs")


@pytest.mark.parametrize(
    "kind", ["preStop", "postStart", "prestop", "preStart", "createruntime", "x"]
)
@pytest.mark.parametrize("value", [[], [{"path": "/bin/true"}], None])
def test_in_21_unknown_hook_kind(kind: str, value: object) -> None:
    refused_with("/hooks", {kind: value}, "lifecycle block", f"/hooks/{kind}")


@pytest.mark.parametrize(
    "kind",
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
)
def test_in_21_oci_hooks_are_refused_by_name(kind: str) -> None:
    unsupported_with("/hooks", {kind: [{"path": "/bin/true"}]}, f"/hooks/{kind}")
    assert spec_with("/hooks", {kind: []}) == spec_with("/hooks", {})


@pytest.mark.parametrize(
    "pointer", ["/x", "/process/x", "/linux/x", "/windows", "/root/x", "/mounts/0/x"]
)
def test_in_22_unknown_fields_of_the_oci_part_are_ignored(pointer: str) -> None:
    assert spec_with(pointer, {"any": ["thing"]}) == parse(GOOD.encode())


@pytest.mark.parametrize("path", ["/../..", "..", "/a/../b", "a/..", "../a"])
def test_in_23_cgroups_path(path: str) -> None:
    refused_with("/linux/cgroupsPath", path, "'..'")


@pytest.mark.parametrize("path", ["/a", "a/b", "/..a/b..", "system.slice:docker:id"])
def test_in_23_other_cgroups_paths_pass(path: str) -> None:
    assert spec_with("/linux/cgroupsPath", path).linux.cgroups_path == path


@pytest.mark.parametrize(
    "key",
    [
        "kernel/../net.ipv4.ip_forward",
        "net/../kernel/core_pattern",
        "net.ipv4/../x",
        "/net/ipv4/x",
        "net//x",
        "net/.x/y",
        "net",
        "",
        "net.ipv4.",
        "net.ipv4.a b",
        "net.ipv4.x\n",
        "net.ipv4.é",
    ],
)
def test_in_24_sysctl_names(key: str) -> None:
    at = "/linux/sysctl/" + key.replace("/", "~1")
    refused_with("/linux/sysctl", {key: "1"}, "is not the name of a sysctl", at)


@pytest.mark.parametrize("path", ["../../", "", ".", "proc", "./proc"])
def test_in_25_mount_destination(path: str) -> None:
    refused_with("/mounts/0/destination", path, "absolute path")


def test_exec_process_file_is_read_as_strictly() -> None:
    process = parse_process(b'{"args": ["id"], "cwd": "/"}', "p.json")
    assert (process.args, process.caps, process.uid) == (["id"], None, 0)
    with pytest.raises(InputError, match=r"p\.json: /args/0: contains a NUL"):
        parse_process(rb'{"args": ["i\u0000d"], "cwd": "/"}', "p.json")
    with pytest.raises(InputError, match=r"p\.json: /args: duplicate key"):
        parse_process(b'{"args": ["id"], "cwd": "/", "args": ["sh"]}', "p.json")
