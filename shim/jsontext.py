"""JSON by the accelerator of the standard library's own json package, without the package around
it.

`import json` brings re, enum, functools and collections: a third of the start-up time of a verb
(MODELS.md, "The price of an import"). What json does beyond calling `_json` is needed here only
when something is wrong, and then json itself is asked. Importable by all layers.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BLANK = " \t\n\r"


class _Context:
    """The attributes that _json's scanner reads; the defaults are json.JSONDecoder's."""

    __slots__ = (
        "memo", "object_hook", "object_pairs_hook", "parse_constant", "parse_float", "parse_int",
        "strict",
    )  # fmt: skip

    def __init__(self, hooks: dict[str, Any]) -> None:
        self.strict, self.object_hook, self.parse_int = True, None, int
        self.memo: dict[str, str] = {}
        self.object_pairs_hook = hooks.get("object_pairs_hook")
        self.parse_float = hooks.get("parse_float", float)
        self.parse_constant = hooks.get("parse_constant", _constant)


def _constant(text: str) -> float:
    return {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}[text]


_make_scanner: Any = _json.make_scanner  # typeshed wants a whole JSONDecoder
_scan = _make_scanner(_Context({}))


def loads(data: str | bytes, **hooks: Any) -> Any:
    """json.loads for str, or bytes in UTF-8. `hooks`: object_pairs_hook, parse_float,
    parse_constant.

    Raises what json.loads raises: json.JSONDecodeError, which is a ValueError, or RecursionError.
    """
    text = data if isinstance(data, str) else data.decode("utf-8")
    scan = _make_scanner(_Context(hooks)) if hooks else _scan
    start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = scan(text, start)
        if not text[end:].strip(_BLANK):
            return value
    except (StopIteration, SystemError):
        # SystemError: the scanner raises json.decoder's own exception, but only when somebody has
        # imported that already, and else returns nothing (Modules/_json.c, raise_errmsg)
        pass
    import json

    return json.loads(text, **hooks)  # which says what is wrong, and where


def _unknown(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


def _encoder(item: str, key: str) -> Callable[[object, int], tuple[str, ...]]:
    encode = _json.encode_basestring_ascii
    make: Any = _json.make_encoder
    made: Callable[[object, int], tuple[str, ...]] = make(
        None, _unknown, encode, None, key, item, False, False, True
    )
    return made


_compact = _encoder(",", ":")


def dumps(value: object) -> str:
    """`value` in one line without spaces, ASCII only."""
    return "".join(_compact(value, 0))


def pretty(value: object, pad: str = "\n") -> str:
    """`value` indented by two spaces, as json.dumps(value, indent=2)."""
    deeper = pad + "  "
    if isinstance(value, dict) and value:
        items = (f"{dumps(str(key))}: {pretty(item, deeper)}" for key, item in value.items())
        return "{" + deeper + ("," + deeper).join(items) + pad + "}"
    if isinstance(value, (list, tuple)) and value:
        return "[" + deeper + ("," + deeper).join(pretty(i, deeper) for i in value) + pad + "]"
    return dumps(value)
