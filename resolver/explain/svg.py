"""A pair's waterfall as an SVG picture, made by hand: opens anywhere, needs nothing, follows light and dark.

Every text from a record is escaped. Knows nothing of where the figures come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from resolver.explain import words
from resolver.explain.waterfall import Explanation

WIDTH, ROW, HEAD = 1200, 26, 84
LABELS, BARS, VALUES = 24, 270, 660  # where columns begin
BAR_END, RIGHT = 590, WIDTH - 24
LETTERS, BESIDE = 46, 78  # as many as there is room for: of both values, and of values and note

STYLE = """
.bg{fill:#fff}.t{fill:#1c2330;font:13px system-ui,sans-serif}.s{fill:#5a6577;font:12px system-ui,sans-serif}
.h{fill:#1c2330;font:600 17px system-ui,sans-serif}.b{font-weight:600}.n{font-variant-numeric:tabular-nums}
.for{fill:#1f7a4d}.against{fill:#b3402e}.sum{fill:#3b5bdb}.line{stroke:#ccd3dd;stroke-width:1}.zero{stroke:#8a94a4}
@media (prefers-color-scheme:dark){.bg{fill:#14181f}.t,.h{fill:#e6eaf0}.s{fill:#9aa5b5}.for{fill:#4cc38a}
.against{fill:#f0806c}.sum{fill:#91a7ff}.line{stroke:#333c4a}.zero{stroke:#6b7686}}
""".strip()


@dataclass(frozen=True)
class _Row:
    label: str
    begin: float
    end: float
    style: str
    figure: str
    beside: str = ""
    bold: bool = False


def draw(found: Explanation, most: int) -> str:
    """The picture; `most` lines per group, the others as one."""
    rows = _rows(found, most)
    low = min([0.0, *(min(row.begin, row.end) for row in rows)])
    high = max([0.0, *(max(row.begin, row.end) for row in rows)])
    scale = (BAR_END - BARS) / ((high - low) or 1.0)

    def x(value: float) -> float:
        return round(BARS + (value - low) * scale, 2)

    height = HEAD + ROW * len(rows) + 64
    left, right = words.plain(found.left["record_id"]), words.plain(found.right["record_id"])
    title = f"{left} and {right}: log-odds {words.signed(found.logit)}"
    body = [
        f'<rect class="bg" width="{WIDTH}" height="{height}"/>',
        _text(LABELS, 34, f"{_cut(left, 50)} and {_cut(right, 50)}", "h"),
        _text(LABELS, 58, found.proposed, "s"),
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="{HEAD - 6}" y2="{HEAD + ROW * len(rows)}"/>',
        _text(x(0), HEAD - 10, "even odds", "s", "middle"),
    ]
    for number, row in enumerate(rows):
        top = HEAD + ROW * number
        begin, end = sorted((x(row.begin), x(row.end)))
        tone = "t b" if row.bold else "t"
        if row.bold:
            body.append(f'<line class="line" x1="{LABELS}" x2="{RIGHT}" y1="{top}" y2="{top}"/>')
        body.append(_text(LABELS, top + 17, _cut(row.label, 36), tone))
        body.append(
            f'<rect class="{row.style}" x="{begin}" y="{top + 5}" width="{max(round(end - begin, 2), 1)}"'
            f' height="{ROW - 10}" rx="2"/>'
        )
        body.append(_text(VALUES - 12, top + 17, row.figure, f"{tone} n", "end"))
        body.append(_text(VALUES + 8, top + 17, row.beside, "s"))
    foot = HEAD + ROW * len(rows) + 24
    body.append(_text(LABELS, foot, f"{words.percent(found.probability)} likely one person: {found.tier}.", "t b"))
    body.append(_text(LABELS, foot + 22, _cut(found.outcome.why, 170), "s"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="{escape(title)}"><title>{escape(title)}</title><style>{STYLE}</style>'
        + "".join(body)
        + "</svg>\n"
    )


def _rows(found: Explanation, most: int) -> list[_Row]:
    rows = [_Row("prior", 0.0, found.prior, "sum", words.signed(found.prior), "any two records", True)]
    standing = found.prior
    for group in found.groups:
        rows.append(
            _Row(
                words.group_name(group.name),
                standing,
                standing + group.logit,
                "sum",
                words.signed(group.logit),
                bold=True,
            )
        )
        shown, rest = group.lines[:most], group.lines[most:]
        for line in shown:
            sides = f"{_cut(line.left, LETTERS // 2)} | {_cut(line.right, LETTERS // 2)}" if line.left else ""
            beside = _cut("  ·  ".join(part for part in (sides, line.note) if part), BESIDE)
            rows.append(_bar(f"  {line.about}", standing, line.logit, beside))
            standing += line.logit
        if rest:
            total = sum(line.logit for line in rest)
            rows.append(_bar(f"  the other {len(rest)}", standing, total, ""))
            standing += total
    rows.append(_Row("sum", 0.0, found.logit, "sum", words.signed(found.logit), bold=True))
    return rows


def _bar(label: str, standing: float, change: float, beside: str) -> _Row:
    return _Row(label, standing, standing + change, "for" if change > 0 else "against", words.signed(change), beside)


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}" xml:space="preserve">{escape(text)}</text>'


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
