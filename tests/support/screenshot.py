"""A picture of a terminal's screen, for the docs."""

from itertools import groupby
from xml.sax.saxutils import escape

import pyte

WIDTH, HEIGHT = 8, 18


def svg(screen: pyte.Screen) -> str:
    """The screen as SVG: a line of text for each line, and the reversed parts as they are."""
    rows = [[screen.buffer[line][column] for column in range(screen.columns)] for line in range(screen.lines)]
    parts = []
    for line, row in enumerate(rows):
        column = 0
        for reverse, cells in groupby(row, key=lambda cell: cell.reverse):
            text = "".join(cell.data for cell in cells)
            x, y, colour = column * WIDTH, line * HEIGHT, "#e6e6e6"
            if reverse:
                colour = "#1e1e1e"
                box = f'x="{x + 8}" y="{y + 8}" width="{len(text) * WIDTH}" height="{HEIGHT}"'
                parts.append(f'<rect {box} fill="#e6e6e6"/>')
            if text.strip():
                # The length keeps columns aligned whatever font there is.
                shown = text.rstrip()
                place = f'x="{x + 8}" y="{y + 22}" textLength="{len(shown) * WIDTH}" fill="{colour}"'
                parts.append(f'<text {place} xml:space="preserve">{escape(shown)}</text>')
            column += len(text)
    size = f'width="{screen.columns * WIDTH + 16}" height="{screen.lines * HEIGHT + 16}"'
    font = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
            '<rect width="100%" height="100%" rx="6" fill="#1e1e1e"/>',
            *parts,
            "</svg>",
            "",
        ]
    )
