"""Write the C source of the extension module shim._core: cffi, API mode.

    build_core.py csrc/core.h OUTPUT.c

What Python may call is what csrc/core.h declares between its two cffi markers, so that the C
compiler and cffi read the same words.
"""

from __future__ import annotations

import sys

import cffi

BEGIN, END = "/* cffi-begin */", "/* cffi-end */"


def declarations(header: str) -> str:
    """The part of core.h between the markers; ValueError if they are missing."""
    _, begin, rest = header.partition(BEGIN)
    body, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} ... {END} in core.h")
    return body


def main(header: str, output: str) -> None:
    """Emit `output` from the declarations in `header`."""
    with open(header, encoding="utf-8") as file:
        body = declarations(file.read())
    builder = cffi.FFI()
    builder.cdef(body)
    builder.set_source("shim._core", '#include "core.h"\n')
    builder.emit_c_code(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
