"""Where the lifecycle comes from: --lifecycle FILE, annotations, lifecycle.json in the bundle.

The first source found wins as a whole (CONTRACT.md).
"""

from __future__ import annotations

import os

from shim.bundle.fields import Value
from shim.bundle.files import read_regular
from shim.bundle.json_strict import check_tree, escape, loads
from shim.bundle.lifecycle import (
    DEFAULT_GRACE,
    GRACE_MAX,
    NOT_FROM_ANNOTATIONS,
    Lifecycle,
    image_stop_signal,
    read_block,
    read_document,
    read_profile,
)
from shim.errors import InputError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.classes import Spec

PREFIX = "io.hookshim."
LIFECYCLE, PROBES = f"{PREFIX}lifecycle", f"{PREFIX}probes"
GRACE = f"{PREFIX}terminationGracePeriodSeconds"
RESTART_POLICY, PROFILE = f"{PREFIX}restartPolicy", f"{PREFIX}profile"
ANNOTATIONS = (LIFECYCLE, PROBES, GRACE, RESTART_POLICY, PROFILE)
FILE_NAME = "lifecycle.json"
YAML_MAX_BYTES = 64 << 10
"""PyYAML reads about 100 KB a second; a wrong file is to be refused in less than one."""


def find(spec: Spec, bundle_dir: str, lifecycle_file: str | None) -> Lifecycle | None:
    """The container's Lifecycle, None when no source has one. InputError names source and field."""
    if lifecycle_file is not None:
        return from_file(lifecycle_file, spec)
    found = from_annotations(spec)
    if found is not None:
        return found
    beside = os.path.join(bundle_dir, FILE_NAME)
    if os.path.lexists(beside):
        document = loads(read_regular(beside), beside)
        return read_document(Value(document, "", beside), spec, FILE_NAME)
    # Nothing else may use it yet, but a stop will: what is wrong is said at create.
    image_stop_signal(spec)
    return None


def from_file(path: str, spec: Spec | None = None) -> Lifecycle:
    """A JSON file when its name ends in .json, YAML otherwise."""
    if path.endswith(".json"):
        document = loads(read_regular(path), path)
    else:
        document = load_yaml(read_regular(path, YAML_MAX_BYTES), path)
    return read_document(Value(document, "", path), spec, path)


def from_annotations(spec: Spec, file: str = "config.json") -> Lifecycle | None:
    """Annotations may come from an image (SECURITY.md CV-29): handlers run with the container's own
    credentials, and a restart policy other than Never is not theirs to ask for."""
    notes = spec.annotations
    _no_typo(notes, file)
    if not any(name in notes for name in ANNOTATIONS):
        return None
    if PROBES in notes:
        raise UnsupportedError(file, _where(PROBES), "probes are not supported by this version")
    if notes.get(RESTART_POLICY, "Never") != "Never":
        raise InputError(file, _where(RESTART_POLICY), NOT_FROM_ANNOTATIONS)
    result = Lifecycle(
        stop_signal=image_stop_signal(spec),
        grace=_grace(notes.get(GRACE), file),
        source="annotations",
    )
    if PROFILE in notes:
        result.profile = read_profile(Value(notes[PROFILE], _where(PROFILE), file))
    if LIFECYCLE in notes:
        where = _where(LIFECYCLE)
        block = Value(loads(notes[LIFECYCLE].encode(), file, where), where, file)
        read_block(block, result, limits=False)
    return result


def _no_typo(notes: dict[str, str], file: str) -> None:
    # The specification lets unknown annotations pass; one that differs from ours only in case
    # would be a hook that silently never runs (SECURITY.md IN-21).
    known = {name.casefold(): name for name in ANNOTATIONS}
    for key in notes:
        name = known.get(key.casefold(), key)
        if name != key:
            raise InputError(file, _where(key), f"unknown annotation; did you mean {name!r}?")


def _where(annotation: str) -> str:
    return f"/annotations/{escape(annotation)}"


def _grace(text: str | None, file: str) -> int:
    if text is None:
        return DEFAULT_GRACE
    # int() also takes "+3", " 3 ", "1_000" and other scripts' digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= GRACE_MAX):
        cause = f"must be whole seconds from 0 to {GRACE_MAX}, not {text[:32]!r}"
        raise InputError(file, _where(GRACE), cause)
    return int(text)


def load_yaml(data: bytes, file: str) -> object:
    """One YAML document of plain JSON values.

    Refused: duplicate keys, anchors and aliases (a small file could stand for an endless one),
    tags.
    """
    try:
        import yaml
    except ImportError:
        cause = "YAML needs the Python package PyYAML; or give a file whose name ends in .json"
        raise InputError(file, "", cause) from None
    from shim.bundle.yaml_strict import StrictLoader

    try:
        text = data.decode("utf-8")
        loader = StrictLoader(text)
        document: object = loader.get_single_data()
    except UnicodeDecodeError as error:
        raise InputError(file, "", f"invalid UTF-8 at byte {error.start}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise InputError(file, "", f"{where}{what}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(file, "", str(error).splitlines()[0]) from None
    except RecursionError:
        raise InputError(file, "", "nested too deeply") from None
    if document is None:
        raise InputError(file, "", "empty document")
    check_tree(document, file)
    return document
