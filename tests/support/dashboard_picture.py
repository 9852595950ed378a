"""A picture (SVG) of a dashboard, with the series that a Prometheus gives for its panels.

It is drawn here, not by Grafana: the layout, titles, units, queries and legends are those of the dashboard's JSON.
"""

import re
from collections.abc import Callable
from xml.sax.saxutils import escape

COLOURS = ("#3274d9", "#e0752d", "#1f9e53", "#c4162a", "#8f3bb8", "#b8860b", "#0a9396", "#6c757d")
UNITS = {"cps": "/s", "reqps": "/s", "Bps": " B/s", "percent": " %", "bytes": " B", "ms": " ms", "s": " s", "d": " d"}
WIDTH, HEIGHT, PLOT, LEGEND = 460, 190, 270, 6
Series = tuple[str, list[tuple[float, float]]]


def picture(dashboard: dict, query_range: Callable[[str], list[dict]]) -> str:
    """`query_range` gives the series of an expression as Prometheus does."""
    panels = dashboard["panels"]
    rows = (len(panels) + 1) // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {rows * HEIGHT + 40}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="12" y="26" font-size="17">{dashboard["title"]}</text>',
    ]
    for index, panel in enumerate(panels):
        series = [
            (legend(target["legendFormat"], one["metric"]), [(t, float(v)) for t, v in one["values"]])
            for target in panel["targets"]
            for one in query_range(target["expr"])
        ]
        parts.append(f'<g transform="translate({index % 2 * WIDTH},{40 + index // 2 * HEIGHT})">')
        parts += drawn(panel["title"], UNITS.get(panel["fieldConfig"]["defaults"]["unit"], ""), series)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda it: labels.get(it[1], ""), form).strip()


def drawn(title: str, unit: str, series: list[Series]) -> list[str]:
    parts = [
        f'<rect x="6" y="4" width="{WIDTH - 12}" height="{HEIGHT - 10}" fill="none" stroke="#ccc"/>',
        f'<text x="14" y="22" font-weight="bold">{escape(title)}</text>',
    ]
    points = [point for _, values in series for point in values if point[1] == point[1]]
    if not points:
        return [*parts, '<text x="14" y="100" fill="#888">no data</text>']
    begin, end = min(t for t, _ in points), max(t for t, _ in points)
    top = max(v for _, v in points) or 1

    def place(t: float, v: float) -> str:
        return f"{14 + (PLOT - 14) * (t - begin) / max(end - begin, 1):.1f},{HEIGHT - 22 - (HEIGHT - 62) * v / top:.1f}"

    parts.append(f'<text x="14" y="36" fill="#888">{short(top)}{unit}</text>')
    parts.append(f'<text x="14" y="{HEIGHT - 10}" fill="#888">0</text>')
    for number, (name, values) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(place(t, v) for t, v in values if v == v)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if number < LEGEND:
            y = 46 + 16 * number
            text = f"{name[:22]}: {short(values[-1][1])}{unit}"
            parts.append(f'<text x="{PLOT + 12}" y="{y}" fill="{colour}">{escape(text)}</text>')
    if len(series) > LEGEND:
        parts.append(f'<text x="{PLOT + 12}" y="{46 + 16 * LEGEND}" fill="#888">and {len(series) - LEGEND} more</text>')
    return parts


def short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"
