"""Documents for the bundle tests, and the one way to say "this is refused here, for this
reason"."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from shim.bundle.make import spec_document
from shim.bundle.spec import Spec, parse
from shim.errors import InputError, UnsupportedError

ABSENT = object()


def changed(pointer: str, value: object) -> dict[str, Any]:
    """`shim spec`'s document with the field at `pointer` set to `value`, or removed when ABSENT."""
    document: Any = copy.deepcopy(spec_document())
    *parents, last = [part.replace("~1", "/") for part in pointer.split("/")[1:]]
    node = document
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    if value is ABSENT:
        del node[last]
    elif isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return document  # type: ignore[no-any-return]


def spec_with(pointer: str, value: object) -> Spec:
    return parse(json.dumps(changed(pointer, value)).encode())


def refused(data: bytes | dict[str, Any], pointer: str, words: str = "") -> InputError:
    """`data` is refused at exactly `pointer`, in one line that holds `words`."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(InputError) as caught:
        parse(raw)
    assert caught.value.pointer == pointer
    assert words in caught.value.cause
    assert caught.value.file == "config.json"
    assert "\n" not in str(caught.value)
    return caught.value


def refused_with(pointer: str, value: object, words: str = "", at: str | None = None) -> InputError:
    """The change makes the document refused at `at` (where the change was, unless given)."""
    return refused(changed(pointer, value), pointer if at is None else at, words)


def unsupported_with(pointer: str, value: object, at: str | None = None) -> None:
    assert isinstance(refused_with(pointer, value, "not supported", at), UnsupportedError)
