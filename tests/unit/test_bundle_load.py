"""Loading a bundle directory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from unit.bundle_support import changed

from shim.bundle.load import load
from shim.errors import InputError


def bundle(path: Path, pointer: str = "/hostname", value: object = "h") -> str:
    (path / "rootfs").mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(changed(pointer, value)))
    return str(path)


def test_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = load(".", None)
    assert (found.dir, found.rootfs) == (str(tmp_path), str(tmp_path / "rootfs"))
    assert found.config == (tmp_path / "config.json").read_bytes()
    assert (found.spec.hostname, found.lifecycle) == ("h", None)


def test_an_absolute_root(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    found = load(bundle(tmp_path, "/root/path", str(tmp_path / "elsewhere/../elsewhere/")))
    assert found.rootfs == str(tmp_path / "elsewhere")


def test_lifecycle_comes_along(tmp_path: Path) -> None:
    bundle(tmp_path)
    (tmp_path / "lifecycle.json").write_text(
        '{"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}'
    )
    found = load(str(tmp_path)).lifecycle
    assert found is not None
    assert found.pre_stop is not None


@pytest.mark.parametrize(
    ("name", "words"), [("none", "no such file"), ("config.json", "not a dir")]
)
def test_no_bundle_there(tmp_path: Path, name: str, words: str) -> None:
    bundle(tmp_path)
    with pytest.raises(InputError, match=f"{tmp_path / name}: {words}"):
        load(str(tmp_path / name))


def test_a_newline_in_the_bundle_path_stays_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(str(tmp_path / "a\nb"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("type", "file", "key"),
    [
        ("network", "net", "net.ipv4.ip_forward"),
        ("ipc", "ipc", "kernel.shmmax"),
        ("uts", "uts", "kernel.domainname"),
    ],
)
def test_no_sysctl_in_the_hosts_namespace(tmp_path: Path, type: str, file: str, key: str) -> None:
    document = changed("/linux/sysctl", {key: "1"})
    for entry in document["linux"]["namespaces"]:
        if entry["type"] == type:
            entry["path"] = f"/proc/{os.getpid()}/ns/{file}"
    bundle(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"not allowed in the host's {type} namespace") as caught:
        load(str(tmp_path))
    assert caught.value.pointer == f"/linux/sysctl/{key}"


def test_a_namespace_path_that_is_missing_is_named(tmp_path: Path) -> None:
    document = changed("/linux/sysctl", {"net.core.somaxconn": "1"})
    document["linux"]["namespaces"][1]["path"] = "/run/netns/none-of-mine"
    bundle(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="no such file or directory") as caught:
        load(str(tmp_path))
    assert caught.value.pointer == "/linux/namespaces/1/path"
