"""`shim explain`: whole outputs for three bundles, and the arithmetic of the stop."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from unit.compile_support import (
    bundle_of,
    everything,
    golden,
    host_document,
    runc_document,
    spec_of,
)

from shim.bundle.lifecycle import Handler, Lifecycle
from shim.bundle.load import Bundle
from shim.engine.explain import explain
from shim.errors import InputError

BUNDLES = {"runc-spec": runc_document, "everything": everything, "host-overlay": host_document}


@pytest.mark.parametrize("name", BUNDLES)
def test_whole(name: str) -> None:
    golden(f"explain-{name}.txt", explain(bundle_of(BUNDLES[name]())))


def stop(lifecycle: Lifecycle | None, annotations: dict[str, str] | None = None) -> list[str]:
    document = {**runc_document(), "annotations": annotations or {}}
    bundle = Bundle("/bundle", spec_of(document), b"", lifecycle, "/bundle/rootfs")
    lines = explain(bundle)
    return lines[lines.index("stop") + 1 :]


EXEC = Handler("exec", ["drain"])


@pytest.mark.parametrize(
    ("pre_stop", "grace", "timeline"),
    [
        (None, 10, ["t SIGINT; the process has 10 s to end"]),
        (
            EXEC,
            10,
            [
                't preStop: exec ["drain"]',
                "preStop ends SIGINT; the process has what is left",
                "t+10 s preStop is cut off if it still runs: SIGINT, and no time left",
            ],
        ),
        (
            Handler("exec", ["drain"], timeout=4),
            10,
            [
                't preStop: exec ["drain"], cut off after 4 s',
                "preStop ends SIGINT; the process has what is left",
                "t+4 s preStop is cut off if it still runs: SIGINT, the process has 6 s left",
            ],
        ),
        (
            Handler("exec", ["drain"], timeout=40),
            10,
            [
                't preStop: exec ["drain"], cut off after 40 s',
                "preStop ends SIGINT; the process has what is left",
                "t+10 s preStop is cut off if it still runs: SIGINT, and no time left",
            ],
        ),
        (
            Handler("sleep", seconds=7),
            10,
            ["t preStop: sleep 7 s", "t+7 s preStop is over: SIGINT, the process has 3 s left"],
        ),
    ],
)
def test_timeline(pre_stop: Handler | None, grace: float, timeline: list[str]) -> None:
    life = Lifecycle(pre_stop=pre_stop, stop_signal=2, grace=grace, source="lifecycle.json")
    lines = [" ".join(line.split()) for line in stop(life)[3:]]
    assert lines == [
        f"t the grace period begins; SIGKILL is due at t+{grace} s",
        *timeline,
        f"t+{grace} s SIGKILL to every process of the container",
    ]


def test_no_grace_means_no_hook() -> None:
    life = Lifecycle(pre_stop=EXEC, grace=0, source="lifecycle.json")
    assert [" ".join(line.split()) for line in stop(life)[3:]] == [
        "t SIGKILL at once: there is no grace period"
    ]


ANNOTATION = "org.opencontainers.image.stopSignal"


@pytest.mark.parametrize(
    ("lifecycle", "annotations", "signal", "grace"),
    [
        (None, {}, "SIGTERM (from default)", "30 s (from default)"),
        (
            None,
            {ANNOTATION: "SIGUSR1"},
            f"SIGUSR1 (from annotation {ANNOTATION})",
            "30 s (from default)",
        ),
        (
            Lifecycle(stop_signal=3, grace=9, source="/etc/life.yaml"),
            {},
            "SIGQUIT (from /etc/life.yaml, else default)",
            "9 s (from /etc/life.yaml, else default)",
        ),
    ],
)
def test_origins(
    lifecycle: Lifecycle | None, annotations: dict[str, str], signal: str, grace: str
) -> None:
    lines = stop(lifecycle, annotations)
    assert lines[1].split(maxsplit=2)[2] == signal
    assert lines[2].split(maxsplit=2)[2] == grace


def test_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that is nowhere is explained: nothing is opened."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    bundle = bundle_of(everything())
    explain(bundle)  # imports are done
    monkeypatch.setattr(builtins, "open", forbidden)
    monkeypatch.setattr("os.open", forbidden)
    explain(bundle)


def test_a_bundle_that_create_refuses_is_refused_in_the_same_words() -> None:
    document: dict[str, Any] = runc_document()
    del document["process"]
    with pytest.raises(InputError, match=r"config\.json: /process: missing"):
        explain(bundle_of(document))
