"""The report stage: one HTML file that opens offline, for a person who decides whether to trust this run.

    content.py    what the report shows, gathered from the files of the run
    charts.py     charts as inline SVG
    page.html     the page, with its style sheet

The file holds text of patients. It loads nothing and runs nothing: no scripts, no fonts, no images from elsewhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from resolver.stage import Facts, StageContext

if TYPE_CHECKING:
    from markupsafe import Markup


def run(context: StageContext) -> Facts:
    from resolver.report.content import gather

    content = gather(context)
    context.outputs["report.html"].write_text(render(content), encoding="utf-8")
    return {"doubtful": len(content["pairs"]["doubtful"]), "unreached_records": content["attrition"]["unreached"]}


def render(content: dict[str, Any]) -> str:
    """The page. Everything that comes from the data is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resolver.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "share": _share, "signed": _signed, "figure": _figure, "percent": _percent}
    return environment.get_template("page.html").render(**content, charts=_charts(content))


def _charts(content: dict[str, Any]) -> dict[str, Markup]:
    from resolver.report import charts

    metrics = content["metrics"]
    style = {"match": "tier-match", "gray": "tier-gray", "non-match": "tier-non"}
    found = {
        "scores": charts.log_columns(
            "Scored pairs by log-odds",
            [(place, count, style.get(tier, "bar")) for place, count, tier in content["scores"]],
            content["thresholds"],
            "log-odds that the two records are one person",
        ),
        "sizes": charts.columns("Persons by number of records", _sizes(metrics["sizes"]), "records per person"),
    }
    bins = metrics.get("calibration", {}).get("bins", [])
    if bins:
        most = max(one["pairs"] for one in bins)
        found["calibration"] = charts.shares(
            "Share of true pairs by log-odds, against what the log-odds say",
            [charts.Series("what the log-odds promise", "line ideal", [(x / 4, _odds(x / 4)) for x in range(-52, 53)])],
            "log-odds",
            -13,
            13,
            [
                (
                    one["logit"],
                    one["true"],
                    2.5 + 5 * math.sqrt(one["pairs"] / most),
                    f"{one['pairs']:,} pairs: {one['probability']:.1%} expected, {one['true']:.1%} true",
                )
                for one in bins
            ],
        )
        found["curve"] = charts.shares(
            "Precision and recall of the pairs by threshold, before clustering",
            [
                charts.Series(name, f"line {css}", points)
                for name, css, points in zip(
                    (
                        "precision of this run",
                        "recall of this run",
                        "precision of Splink alone",
                        "recall of Splink alone",
                    ),
                    ("precision", "recall", "precision other", "recall other"),
                    (*_curve(bins, metrics["pairs"]["after_clustering"]["true"]), *_splink(metrics["splink_curve"])),
                    strict=True,
                )
            ],
            "log-odds from which a pair counts as a link",
            -9,
            12,
        )
    return found


def _sizes(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """Up to eleven columns: sizes beyond ten share the last."""
    rows = [(int(size), count) for size, count in sizes.items()]
    small = [(str(size), count) for size, count in sorted(rows) if size <= 10]
    large = sum(count for size, count in rows if size > 10)
    return [*small, ("11+", large)] if large else small


def _curve(bins: list[dict[str, Any]], true: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Precision and recall if links began at the lower end of each step of log-odds."""
    precision, recall, pairs, right = [], [], 0, 0.0
    for one in reversed(bins):
        pairs += one["pairs"]
        right += one["pairs"] * one["true"]
        if one["from"] is not None and true:
            precision.append((one["from"], right / pairs))
            recall.append((one["from"], right / true))
    return precision[::-1], recall[::-1]


def _splink(curve: list[list[float]]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    return [(at, precision) for at, precision, _ in curve], [(at, recall) for at, _, recall in curve]


def _odds(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _share(value: float | None, digits: int = 1) -> str:
    """A percentage that never rounds up to 100."""
    if value is None:
        return "–"
    text = f"{value:.{digits}%}"
    if value < 1 and text.startswith("100"):
        text = f"{math.floor(value * 10 ** (digits + 2)) / 10**digits:.{digits}f}%"
    return text


def _figure(value: float | None) -> str:
    """Four digits after the point, never rounded up to 1."""
    return "–" if value is None else f"{math.floor(value * 1e4 + 1e-9) / 1e4:.4f}"


def _percent(value: float | None) -> str:
    """The same figure as a percentage, so that a sentence and the card below it agree."""
    return "–" if value is None else f"{math.floor(value * 1e4 + 1e-9) / 100:.2f}%"


def _signed(value: float | None) -> str:
    if value is None:
        return "–"
    return "0.0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "−")
