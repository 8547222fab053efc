"""Text that is safe to show: nothing a container wrote may drive the terminal (SECURITY.md
HK-06)."""

from __future__ import annotations

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}


def escape(text: str) -> str:
    """`text` in one line: control, format and undecodable characters become backslash sequences."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # surrogateescape: a byte that was not UTF-8
        number -= 0xDC00
    return _SHORT.get(char) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")


def last_line(text: str) -> str:
    """The last line that is not blank, escaped; "" when there is none."""
    for line in reversed(text.splitlines()):
        if line.strip():
            return escape(line)
    return ""
