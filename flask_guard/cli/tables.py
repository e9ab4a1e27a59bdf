"""Text in columns that fit the terminal, with colours on a terminal only."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import click

GAP = "  "
NARROWEST = 20
"""The width below which a column is not folded, in characters."""


class Chunk(NamedTuple):
    """A piece of text, in a colour of click, that is kept on one line if possible."""

    text: str
    color: str | None = None
    bold: bool = False


Cell = Sequence[Chunk]


def terminal_width() -> int | None:
    """Return the width of the terminal in characters. None if the output goes elsewhere, and is not folded."""
    if os.environ.get("COLUMNS", "").isdigit():
        return int(os.environ["COLUMNS"])
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(chunks: Iterable[Chunk] = ()) -> None:
    """Print one line, without spaces at its end."""
    line = list(chunks)
    while line and not line[-1].text.strip():
        line.pop()
    if line:
        line[-1] = line[-1]._replace(text=line[-1].text.rstrip())
    plain = bool(os.environ.get("NO_COLOR"))
    styled = (click.style(each.text, fg=each.color, bold=each.bold or None) for each in line)
    click.echo("".join(each.text for each in line) if plain else "".join(styled))


def print_folded(line: Sequence[Chunk], width: int | None) -> None:
    """Print a line, folded at spaces to fit `width`. Further lines are indented to the start of its text."""
    words = [chunk._replace(text=word) for chunk in line for word in _words(chunk.text)]
    if width is None or _length(words) <= width:
        say(line)
        return
    text = "".join(chunk.text for chunk in line)
    indent = min(len(text) - len(text.lstrip(" +~-→0123456789")), width // 2)
    for folded in _folded(words, width, " " * indent):
        say(folded)


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text)


def print_columns(rows: Sequence[Sequence[Cell]], width: int | None) -> None:
    """Print rows in aligned columns, folded to fit `width`.

    :param width: the width of the terminal in characters. None for no folding.
    """
    widths = [max(_length(cell) for cell in column) for column in zip(*rows, strict=True)]
    if width is not None:
        widths = _fitted(widths, width)
    for row in rows:
        folded = [list(_folded(cell, room)) for cell, room in zip(row, widths, strict=True)]
        for number in range(max(map(len, folded))):
            parts = [lines[number] if number < len(lines) else [] for lines in folded]
            say(_joined(parts, widths))


def _joined(parts: Sequence[Cell], widths: Sequence[int]) -> Iterator[Chunk]:
    for position, (cell, width) in enumerate(zip(parts, widths, strict=True)):
        yield from cell
        if position < len(widths) - 1:
            yield Chunk(" " * (width - _length(cell)) + GAP)


def _fitted(widths: list[int], width: int) -> list[int]:
    """Return column widths that fit `width`. The widest columns shrink first, down to :data:`NARROWEST`."""
    fitted = list(widths)
    while sum(fitted) + len(GAP) * (len(fitted) - 1) > width and max(fitted) > NARROWEST:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def _length(cell: Cell) -> int:
    return sum(len(each.text) for each in cell)


def _folded(cell: Cell, width: int, indent: str = "") -> Iterator[list[Chunk]]:
    """Yield the lines of a cell. A chunk longer than a line is cut.

    :param indent: the spaces before each line but the first.
    """
    line: list[Chunk] = []
    for chunk in cell:
        text = chunk.text
        if line and _length(line) + len(text.rstrip()) > width:
            yield line
            line, text = [], f"{indent}{text.lstrip()}"
        while len(text.rstrip()) > width:
            yield [chunk._replace(text=text[:width])]
            text = f"{indent or GAP}{text[width:]}"
        line.append(chunk._replace(text=text))
    yield line
