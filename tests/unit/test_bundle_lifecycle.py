"""The lifecycle block: three sources, one schema, and every refusal by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.bundle_support import spec_with

from shim.bundle import sources
from shim.bundle.fields import Value
from shim.bundle.lifecycle import GRACE_MAX, Handler, Lifecycle, read_document
from shim.errors import InputError, UnsupportedError

EXEC = {"exec": {"command": ["nginx", "-s", "quit"]}}


def document(value: object) -> Lifecycle:
    return read_document(Value(value, "", "l.json"), None, "l.json")


def refused(value: object, pointer: str, words: str = "") -> InputError:
    with pytest.raises(InputError) as caught:
        document(value)
    assert caught.value.pointer == pointer
    assert words in caught.value.cause
    return caught.value


def hook(value: object) -> dict[str, Any]:
    return {"lifecycle": {"preStop": value}}


def test_a_whole_document() -> None:
    found = document(
        {
            "lifecycle": {
                "postStart": {"sleep": {"seconds": 60}, "retries": 0},
                "preStop": {**EXEC, "timeoutSeconds": 2.5},
                "stopSignal": "SIGQUIT",
            },
            "terminationGracePeriodSeconds": 60,
            "restartPolicy": "Never",
            "profile": "contract",
        }
    )
    assert found.post_start is not None
    assert (found.post_start.kind, found.post_start.seconds) == ("sleep", 60)
    assert found.pre_stop is not None
    assert found.pre_stop.command == ["nginx", "-s", "quit"]
    assert (found.pre_stop.timeout, found.pre_stop.retries) == (2.5, 0)
    assert (found.stop_signal, found.grace, found.source) == (3, 60, "l.json")
    assert (found.profile, found.restart_policy) == ("contract", "Never")


def test_defaults() -> None:
    for found in (document({}), Lifecycle.default()):
        assert (found.post_start, found.pre_stop) == (None, None)
        assert (found.stop_signal, found.grace) == (15, 30)
        assert (found.profile, found.restart_policy) == ("contract", "Never")


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"Lifecycle": {}}, "/Lifecycle"),
        ({"x": 1}, "/x"),
        ({"prestop": EXEC}, "/prestop"),
        ({"preStop": EXEC}, "/preStop"),
        ({"terminationGracePeriod": 1}, "/terminationGracePeriod"),
        ({"lifecycle": {"prestop": EXEC}}, "/lifecycle/prestop"),
        (hook({**EXEC, "timeout": 1}), "/lifecycle/preStop/timeout"),
        (hook({"exec": {"command": ["a"], "cmd": []}}), "/lifecycle/preStop/exec/cmd"),
        (hook({"sleep": {"seconds": 1, "s": 1}}), "/lifecycle/preStop/sleep/s"),
        (hook({"grpc": {"port": 1}}), "/lifecycle/preStop/grpc"),
    ],
)
def test_unknown_keys_of_our_own_block(value: object, pointer: str) -> None:
    assert not isinstance(refused(value, pointer, "unknown field"), UnsupportedError)


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (hook({"httpGet": {"port": 80}}), "/lifecycle/preStop/httpGet"),
        (hook({"tcpSocket": {"port": 80}}), "/lifecycle/preStop/tcpSocket"),
        (hook({**EXEC, "retries": 1}), "/lifecycle/preStop/retries"),
        ({"lifecycle": {"postStop": EXEC}}, "/lifecycle/postStop"),
        ({"lifecycle": {"preStart": EXEC}}, "/lifecycle/preStart"),
        ({"livenessProbe": EXEC}, "/livenessProbe"),
        ({"readinessProbe": EXEC}, "/readinessProbe"),
        ({"startupProbe": EXEC}, "/startupProbe"),
        ({"evict": {"memory": "90%"}}, "/evict"),
        ({"restartPolicy": "Always"}, "/restartPolicy"),
        ({"restartPolicy": "OnFailure"}, "/restartPolicy"),
        ({"profile": "kubelet"}, "/profile"),
    ],
)
def test_what_comes_later_is_refused_by_name(value: object, pointer: str) -> None:
    assert isinstance(refused(value, pointer, "not supported by this version"), UnsupportedError)


@pytest.mark.parametrize(
    ("value", "pointer", "words"),
    [
        ({}, "", "must specify a handler type"),
        ({"timeoutSeconds": 1}, "", "must specify a handler type"),
        ({**EXEC, "sleep": {"seconds": 1}}, "", "may not specify more than 1 handler type"),
        ({**EXEC, "httpGet": {}}, "", "may not specify more than 1 handler type"),
        ([], "", "must be an object"),
        ({"exec": ["a"]}, "/exec", "must be an object"),
        ({"exec": {}}, "/exec/command", "required"),
        ({"exec": {"command": []}}, "/exec/command", "empty"),
        ({"exec": {"command": ["", "a"]}}, "/exec/command/0", "empty"),
        ({"exec": {"command": "ls"}}, "/exec/command", "array"),
        ({"exec": {"command": ["a", 1]}}, "/exec/command/1", "string"),
        ({"exec": {"command": ["a", None]}}, "/exec/command/1", "string"),
        ({"exec": {"command": ["a", "b\0c"]}}, "/exec/command/1", "NUL"),
        ({"sleep": {}}, "/sleep/seconds", "required"),
        ({"sleep": {"seconds": -1}}, "/sleep/seconds", "from 0"),
        ({"sleep": {"seconds": 1.5}}, "/sleep/seconds", "integer"),
        ({"sleep": {"seconds": True}}, "/sleep/seconds", "integer"),
        ({"sleep": {"seconds": "5"}}, "/sleep/seconds", "integer"),
        ({"sleep": {"seconds": 31}}, "/sleep/seconds", "terminationGracePeriodSeconds (30)"),
        ({**EXEC, "timeoutSeconds": 0}, "/timeoutSeconds", "above 0"),
        ({**EXEC, "timeoutSeconds": -1}, "/timeoutSeconds", "above 0"),
        ({**EXEC, "timeoutSeconds": float("nan")}, "/timeoutSeconds", "above 0"),
        ({**EXEC, "timeoutSeconds": float("inf")}, "/timeoutSeconds", "above 0"),
        ({**EXEC, "timeoutSeconds": 10**18}, "/timeoutSeconds", "above 0"),
        ({**EXEC, "timeoutSeconds": True}, "/timeoutSeconds", "number"),
        ({**EXEC, "timeoutSeconds": "1"}, "/timeoutSeconds", "number"),
        ({**EXEC, "retries": -1}, "/retries", "from 0"),
    ],
)
@pytest.mark.parametrize("name", ["preStop", "postStart"])
def test_handlers_that_are_wrong(name: str, value: object, pointer: str, words: str) -> None:
    refused({"lifecycle": {name: value}}, f"/lifecycle/{name}{pointer}", words)


def test_sleep_may_last_as_long_as_the_grace_period() -> None:
    found = document({**hook({"sleep": {"seconds": 5}}), "terminationGracePeriodSeconds": 5})
    assert found.pre_stop is not None
    assert found.pre_stop.seconds == 5
    none = document({**hook({"sleep": {"seconds": 0}}), "terminationGracePeriodSeconds": 0})
    assert none.grace == 0


@pytest.mark.parametrize(
    "value", [-1, 1.5, 1e18, 10**18, GRACE_MAX + 1, True, "30", [], float("nan")]
)
def test_sp_04_grace(value: object) -> None:
    refused({"terminationGracePeriodSeconds": value}, "/terminationGracePeriodSeconds")


@pytest.mark.parametrize("value", ["SIGNOPE", "", "0", 15, "SIGRTMIN+99", None])
def test_stop_signal(value: object) -> None:
    if value is None:
        assert document({"lifecycle": {"stopSignal": None}}).stop_signal == 15
    else:
        refused({"lifecycle": {"stopSignal": value}}, "/lifecycle/stopSignal")


COMMANDS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), max_size=4
)
HANDLERS = (
    st.none()
    | st.builds(
        Handler,
        st.just("exec"),
        COMMANDS.map(lambda words: ["/bin/x", *words]),
        timeout=st.none() | st.floats(0.001, 1000),
    )
    | st.builds(lambda s: Handler("sleep", seconds=s), st.integers(0, GRACE_MAX))
)


@given(HANDLERS, HANDLERS, st.integers(1, 64), st.integers(0, GRACE_MAX))
def test_round_trip_through_state_json(
    post_start: Handler | None, pre_stop: Handler | None, signal: int, grace: int
) -> None:
    lifecycle = Lifecycle(post_start, pre_stop, signal, grace, source="annotations")
    stored = json.loads(json.dumps(lifecycle.to_json()))
    assert Lifecycle.from_json(stored).to_json() == stored
    assert Lifecycle.from_json(stored).stop_signal == signal


def test_handler_json_is_that_of_the_kubernetes_api() -> None:
    handler = Handler("exec", ["a", "b"], timeout=2.0)
    assert handler.to_json() == {"exec": {"command": ["a", "b"]}, "timeoutSeconds": 2}
    assert Handler("sleep", seconds=3).to_json() == {"sleep": {"seconds": 3}}
    assert Handler.from_json({"exec": {"command": ["a"]}}).command == ["a"]


@pytest.mark.parametrize("value", [None, [], {}, {"stopSignal": "SIGTERM"}, {"x": 1}])
def test_corrupt_state_is_an_input_error(value: object) -> None:
    with pytest.raises(InputError, match=r"^state\.json"):
        Lifecycle.from_json(value)


def annotated(**notes: str) -> Lifecycle | None:
    names = {f"io.hookshim.{key}": value for key, value in notes.items() if key != "stop"}
    if "stop" in notes:
        names["org.opencontainers.image.stopSignal"] = notes["stop"]
    return sources.from_annotations(spec_with("/annotations", names))


def test_annotations() -> None:
    found = annotated(
        lifecycle=json.dumps({"preStop": {"sleep": {"seconds": 60}}}),
        terminationGracePeriodSeconds="60",
        restartPolicy="Never",
        profile="contract",
        stop="SIGQUIT",
    )
    assert found is not None
    assert found.pre_stop is not None
    assert (found.pre_stop.seconds, found.grace, found.stop_signal) == (60, 60, 3)
    assert found.source == "annotations"
    assert annotated() is None
    assert annotated(stop="SIGQUIT") is None


def test_the_grace_annotation_alone_makes_a_lifecycle() -> None:
    found = annotated(terminationGracePeriodSeconds="5")
    assert found is not None
    assert (found.grace, found.pre_stop) == (5, None)


def test_the_lifecycle_block_beats_the_image_stop_signal() -> None:
    found = annotated(lifecycle='{"stopSignal": "HUP"}', stop="QUIT")
    assert found is not None
    assert found.stop_signal == 1


@pytest.mark.parametrize(
    ("notes", "pointer"),
    [
        ({"lifecycle": "{"}, "lifecycle"),
        ({"lifecycle": ""}, "lifecycle"),
        ({"lifecycle": '{"preStop": {"exec": {"command": []}}}'}, "lifecycle/preStop/exec/command"),
        ({"lifecycle": '{"preStop": {}, "preStop": {}}'}, "lifecycle/preStop"),
        ({"lifecycle": '{"lifecycle": {}}'}, "lifecycle/lifecycle"),
        (
            {"lifecycle": '{"preStop": {"sleep": {"seconds": 31}}}'},
            "lifecycle/preStop/sleep/seconds",
        ),
        (
            {"lifecycle": '{"preStop": {"httpGet": {"host": "169.254.169.254"}}}'},
            "lifecycle/preStop/httpGet",
        ),
        ({"terminationGracePeriodSeconds": "-1"}, "terminationGracePeriodSeconds"),
        ({"terminationGracePeriodSeconds": "1e3"}, "terminationGracePeriodSeconds"),
        ({"terminationGracePeriodSeconds": " 5"}, "terminationGracePeriodSeconds"),
        ({"terminationGracePeriodSeconds": "٣"}, "terminationGracePeriodSeconds"),
        ({"terminationGracePeriodSeconds": ""}, "terminationGracePeriodSeconds"),
        ({"terminationGracePeriodSeconds": "9" * 5000}, "terminationGracePeriodSeconds"),
        ({"terminationGracePeriodSeconds": "2147483648"}, "terminationGracePeriodSeconds"),
        ({"probes": "{}"}, "probes"),
        ({"profile": "kubelet"}, "profile"),
        ({"profile": ""}, "profile"),
        ({"Lifecycle": "{}"}, "Lifecycle"),
        ({"restartpolicy": "Never"}, "restartpolicy"),
    ],
)
def test_annotations_that_are_wrong(notes: dict[str, str], pointer: str) -> None:
    with pytest.raises(InputError) as caught:
        annotated(**notes)
    assert caught.value.pointer == f"/annotations/io.hookshim.{pointer}"
    assert caught.value.file == "config.json"


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "x"])
def test_cv_29_an_image_cannot_ask_for_restarts(policy: str) -> None:
    with pytest.raises(InputError, match="not taken from an annotation") as caught:
        annotated(restartPolicy=policy)
    assert caught.value.pointer == "/annotations/io.hookshim.restartPolicy"


@pytest.mark.parametrize("key", ["postStop", "preStart", "evict", "hooks", "limits"])
def test_cv_29_annotations_carry_postStart_and_preStop_only(key: str) -> None:
    with pytest.raises(InputError):
        annotated(lifecycle=json.dumps({key: EXEC}))


def test_image_stop_signal() -> None:
    spec = spec_with("/annotations", {"org.opencontainers.image.stopSignal": "RTMIN+3"})
    assert Lifecycle.default(spec).stop_signal == 37
    bad = spec_with("/annotations", {"org.opencontainers.image.stopSignal": "SIGNOPE"})
    with pytest.raises(InputError, match="SIGNOPE"):
        Lifecycle.default(bad)
    with pytest.raises(InputError, match="SIGNOPE"):
        sources.find(bad, "/nonexistent", None)


def test_the_first_source_wins(tmp_path: Path) -> None:
    plain = spec_with("/annotations", {})
    notes = spec_with("/annotations", {"io.hookshim.terminationGracePeriodSeconds": "2"})
    given = tmp_path / "given.json"
    given.write_text('{"terminationGracePeriodSeconds": 1}')
    assert sources.find(plain, str(tmp_path), None) is None
    (tmp_path / "lifecycle.json").write_text('{"terminationGracePeriodSeconds": 3}')
    found = [
        sources.find(notes, str(tmp_path), str(given)),
        sources.find(notes, str(tmp_path), None),
        sources.find(plain, str(tmp_path), None),
    ]
    assert [(one.grace, one.source) for one in found if one is not None] == [
        (1, str(given)),
        (2, "annotations"),
        (3, "lifecycle.json"),
    ]


def test_a_dangling_lifecycle_json_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lifecycle.json").symlink_to("nowhere")
    with pytest.raises(InputError, match="no such file or directory"):
        sources.find(spec_with("/annotations", {}), str(tmp_path), None)


def yaml_file(path: Path, text: str | bytes) -> Lifecycle:
    file = path / "l.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return sources.from_file(str(file))


def test_yaml(tmp_path: Path) -> None:
    found = yaml_file(
        tmp_path,
        """
# what nginx needs
lifecycle:
  postStart: {exec: {command: [sh, -c, "echo hi > /tmp/x"]}}
  preStop:
    exec:
      command:
      - nginx
      - -s
      - quit
  stopSignal: SIGQUIT
terminationGracePeriodSeconds: 45
""",
    )
    assert found.pre_stop is not None
    assert found.pre_stop.command == ["nginx", "-s", "quit"]
    assert (found.grace, found.stop_signal) == (45, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("terminationGracePeriodSeconds: 1\nterminationGracePeriodSeconds: 2\n", "duplicate key"),
        ("lifecycle:\n  preStop: {}\n  preStop: {}\n", "duplicate key"),
        ("a: &x [1]\nb: *x\n", "anchors and aliases"),
        ("a: &x {b: *x}\n", "anchors and aliases"),
        ("<<: {}\n", "a key must be a string"),
        ("on: 1\n", "a key must be a string"),
        ("1: 1\n", "a key must be a string"),
        ("? [a]\n: 1\n", "a key must be a string"),
        ("!!python/object/apply:os.system ['x']\n", "could not determine a constructor"),
        ("a: 2001-99-99\n", "month"),
        ("", "empty document"),
        ("~\n", "empty document"),
        ("[a\n", ""),
        ("a: 1\n---\na: 1\n", "single document"),
        ("\t- a", ""),
        (b"\xff\xfe\x00", "UTF-8"),
        ("\x00", ""),
        ("- " * 3000 + "a", "nested"),
        ("lifecycle: []\n", "/lifecycle: must be an object"),
        ("terminationGracePeriodSeconds: .nan\n", "must be an integer"),
        ("terminationGracePeriodSeconds: 2001-01-01\n", "must be an integer"),
        ("# " + "x" * (64 << 10), "larger than 65536 bytes"),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        yaml_file(tmp_path, text)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(tmp_path / "l.yaml") in str(caught.value)


def test_a_json_name_is_never_read_as_yaml(tmp_path: Path) -> None:
    file = tmp_path / "l.json"
    file.write_text("terminationGracePeriodSeconds: 45\n")
    with pytest.raises(InputError, match="line 1 column 1"):
        sources.from_file(str(file))
