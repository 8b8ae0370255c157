"""Charts as inline SVG. Colours come from the page's style sheet, so that they follow light and dark.

Knows nothing of what the numbers mean. Texts are escaped here, since labels may come from the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 40


@dataclass(frozen=True)
class Series:
    name: str
    style: str  # class in the style sheet
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """From data to pixels along one side."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return round(self.start + (min(max(value, self.low), self.high) - self.low) / span * (self.end - self.start), 2)


def _frame(label: str, body: str, height: int = HEIGHT) -> Markup:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}" class="chart">'
    return Markup(f"{head}{body}</svg>")  # noqa: S704  every text in it went through escape


def _text(x: float, y: float, text: object, anchor: str = "middle", style: str = "tick") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{style}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{style}"/>'


def short(value: float) -> str:
    """A count in few characters."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def log_columns(
    label: str, columns: Sequence[tuple[float, int, str]], marks: Sequence[tuple[float, str]], x_title: str
) -> Markup:
    """Columns of (x, count, style) on a logarithmic scale, with labelled upright marks."""
    if not columns:
        return Markup()
    step = min((after[0] - before[0] for before, after in pairwise(columns)), default=1.0)
    x = Axis(columns[0][0] - step / 2, columns[-1][0] + step / 2, LEFT, WIDTH - RIGHT)
    decades = max(1, math.ceil(math.log10(max(count for _, count, _ in columns) + 1)))
    # A column of one pair still has to be seen, so the scale begins below one.
    y = Axis(-0.15, decades, HEIGHT - BOTTOM, TOP + 12)
    body = []
    for power in range(decades + 1):
        at = y.at(power)
        body += [_line(LEFT, at, WIDTH - RIGHT, at, "grid"), _text(LEFT - 6, at + 4, short(10**power), "end")]
    wide = max(1.0, (x.end - x.start) / max(1, round((x.high - x.low) / step)) - 1)
    for place, count, style in columns:
        if count:
            top = y.at(math.log10(count))
            body.append(
                f'<rect x="{x.at(place) - wide / 2:.2f}" y="{top}" width="{wide:.2f}" '
                f'height="{max(y.start - top, 1):.2f}" class="{style}"><title>{place:g}: {count:,}</title></rect>'
            )
    for place, name in marks:
        if x.low <= place <= x.high:
            body += [_line(x.at(place), TOP + 8, x.at(place), HEIGHT - BOTTOM, "mark")]
            body.append(_text(x.at(place), TOP + 4, name, style="tick strong"))
    body += _whole_ticks(x)
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_title))
    return _frame(label, "".join(body))


def _whole_ticks(x: Axis) -> list[str]:
    spread = x.high - x.low
    step = next(one for one in (1, 2, 5, 10, 20, 50, 100, 1000) if spread / one <= 9 or one == 1000)
    first = math.ceil(x.low / step) * step
    return [
        _text(x.at(value), HEIGHT - BOTTOM + 16, f"{value:g}".replace("-", "−"))
        for value in range(first, math.floor(x.high) + 1, step)
    ]


def shares(
    label: str,
    series: Sequence[Series],
    x_title: str,
    low: float,
    high: float,
    dots: Sequence[tuple[float, float, float, str]] = (),
    bottom: float = 0.0,
) -> Markup:
    """Lines of shares over log-odds, and dots of (x, share, radius, words)."""
    x, y = Axis(low, high, LEFT, WIDTH - RIGHT), Axis(bottom, 1, HEIGHT - BOTTOM, TOP)
    body = []
    for part in range(5):
        share = bottom + (1 - bottom) * part / 4
        body += [
            _line(LEFT, y.at(share), WIDTH - RIGHT, y.at(share), "grid"),
            _text(LEFT - 6, y.at(share) + 4, f"{share:.0%}", "end"),
        ]
    for one in series:
        points = " ".join(f"{x.at(place)},{y.at(share)}" for place, share in one.points if low <= place <= high)
        body.append(f'<polyline points="{points}" class="{one.style}"><title>{escape(one.name)}</title></polyline>')
    for place, share, radius, words in dots:
        body.append(
            f'<circle cx="{x.at(place)}" cy="{y.at(share)}" r="{radius:.1f}" class="dot">'
            f"<title>{escape(words)}</title></circle>"
        )
    body += _whole_ticks(x)
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_title))
    return _frame(label, "".join(body))


def columns(label: str, values: Sequence[tuple[str, int]], x_title: str) -> Markup:
    """Columns of counts with their number on top; the height is the square root, so that small ones are seen."""
    if not values:
        return Markup()
    most = math.sqrt(max(count for _, count in values)) or 1
    wide = (WIDTH - 2 * RIGHT) / len(values)
    y = Axis(0, most, HEIGHT - BOTTOM, TOP + 14)
    body = []
    for number, (name, count) in enumerate(values):
        top, left = y.at(math.sqrt(count)), RIGHT + number * wide
        body.append(
            f'<rect x="{left + wide * 0.12:.2f}" y="{top}" width="{wide * 0.76:.2f}" '
            f'height="{max(y.start - top, 1):.2f}" class="bar"/>'
        )
        body.append(_text(left + wide / 2, top - 5, short(count)))
        body.append(_text(left + wide / 2, HEIGHT - BOTTOM + 16, name))
    body.append(_line(RIGHT, y.start, WIDTH - RIGHT, y.start, "axis"))
    body.append(_text(WIDTH / 2, HEIGHT - 4, x_title))
    return _frame(label, "".join(body))
