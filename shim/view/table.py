"""Plain columns, as runc's and kubectl's tab writers lay them out."""

from __future__ import annotations

from shim.view.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NONE = "<none>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], gap: int = 3) -> str:
    """The header and the rows in columns `gap` spaces apart; None shows as "-". Cells are
    escaped."""
    cells = [[str(name) for name in header]]
    cells += [["-" if cell is None else escape(str(cell)) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    return "".join(
        (" " * gap)
        .join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        .rstrip()
        + "\n"
        for line in cells
    )


def indent(text: str, by: int = 2) -> str:
    """Every line of `text` moved right."""
    return "".join(" " * by + line for line in text.splitlines(keepends=True))
