"""The encoding of journal.jsonl: one JSON object a line, numbered and checksummed. Pure.

A power cut or a full disk may tear the last line, and a state directory may be tampered with, so
each line carries `seq` (no line is missing) and `crc` (no byte changed); reading stops at the first
line that fails (SECURITY.md ST-04).
"""

from __future__ import annotations

from binascii import crc32

from shim import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CRC = b',"crc":'


def encode(seq: int, record: dict[str, Any]) -> bytes:
    """The line for `record`, newline included."""
    body = jsontext.dumps({"seq": seq, **record}).encode("ascii")
    return body[:-1] + _CRC + b"%d}\n" % crc32(body)


def decode(line: bytes) -> dict[str, Any] | None:
    """The record of a line without its newline, `crc` removed; None when the line is damaged."""
    cut = line.rfind(_CRC)
    if cut < 0 or not line.endswith(b"}") or not line[cut + len(_CRC) : -1].isdigit():
        return None
    body = line[:cut] + b"}"
    if int(line[cut + len(_CRC) : -1][:11]) != crc32(body):
        return None
    try:
        record = jsontext.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def replay(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The good records from the start of `data`, and how many bytes they take."""
    records: list[dict[str, Any]] = []
    good = 0
    while True:
        end = data.find(b"\n", good)
        if end < 0:
            return records, good
        record = decode(data[good:end])
        if record is None or record.get("seq") != len(records) + 1:
            return records, good
        records.append(record)
        good = end + 1
