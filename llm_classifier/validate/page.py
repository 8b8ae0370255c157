"""The validation of a model as one HTML page: figures, slices, calibration, sensitivity, and what is odd.

Knows nothing of how any of it is computed. Opens anywhere: no script, no font, no request.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llm_classifier import calibrate, measures
from llm_classifier.measures import Floats
from llm_classifier.registry.metrics import Metrics
from llm_classifier.train import data
from llm_classifier.validate.findings import Finding
from llm_classifier.validate.measuring import Scored
from llm_classifier.validate.sensitivity import Sensitivity
from resolver.report import charts

STEP = 0.5  # log-odds per dot of the calibration chart
REACH = 8.0


def write(path: Path, metrics: Metrics, scored: Scored, seen: Sensitivity | None, findings: list[Finding]) -> None:
    from jinja2 import Environment, FileSystemLoader

    from resolver import files, report

    here, style = Path(__file__).parent, Path(report.__file__).parent
    pages = Environment(loader=FileSystemLoader([here, style]), autoescape=True)
    html = pages.get_template("page.html").render(
        metrics=metrics,
        seen=seen,
        findings=findings,
        calibration=_calibration(scored),
        curve=_curve(scored),
    )
    files.write_text(path, html)


def _calibration(scored: Scored) -> str:
    """Share of true pairs at each step of believed log-odds, in the gray zone's own mix."""
    believed = calibrate.apply(scored.logits, scored.told.calibration)
    labels, weights = data.labels(scored.pairs), data.weights(scored.pairs)
    steps = np.clip(np.floor(believed / STEP), -REACH / STEP, REACH / STEP - 1).astype(int)
    dots = []
    for step in np.unique(steps):
        here = steps == step
        share, weight = float(np.average(labels[here], weights=weights[here])), float(weights[here].sum())
        radius = 2.5 + 6 * float(np.sqrt(weight / weights.sum()))
        dots.append(((step + 0.5) * STEP, share, radius, f"{int(here.sum()):,} pairs: {share:.1%} true"))
    promise = [(x / 4, float(measures.probability(np.array([x / 4]))[0])) for x in range(-32, 33)]
    return charts.shares(
        "Share of true pairs by log-odds, against what the log-odds say",
        [charts.Series("what the log-odds promise", "line ideal", promise)],
        "calibrated log-odds",
        -REACH,
        REACH,
        dots,
    )


def _curve(scored: Scored) -> str:
    """Precision and recall by threshold."""
    believed = calibrate.apply(scored.logits, scored.told.calibration)
    labels, weights = data.labels(scored.pairs), data.weights(scored.pairs)
    precision, recall = [], []
    for at in np.arange(-REACH, REACH + STEP, STEP):
        called: Floats = (believed > at) * weights
        if called.sum():
            precision.append((float(at), float(called @ labels / called.sum())))
        recall.append((float(at), float(called @ labels / (weights @ labels))))
    return charts.shares(
        "Precision and recall by threshold",
        [charts.Series("precision", "line precision", precision), charts.Series("recall", "line recall", recall)],
        "calibrated log-odds from which a pair counts as one person",
        -REACH,
        REACH,
    )
