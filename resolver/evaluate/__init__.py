"""The evaluate stage: what can be said of a run, and with a truth file how right it is, as metrics.json.

    truth.py      the truth file beside the records
    stream.py     one walk over the scored pairs
    counts.py     pairs and clusters, record by record
    figures.py    sums into figures
    fields.py     golden values, and what missed pairs differ in
    estimate.py   how right the run is, as far as that is known without truth
    standing.py   how sure the run is of its persons, question by question
    groups.py     that by groups of records
    symptoms.py   what carries the evidence, and what is shared;  anomalies.py: what of all this is strange, in words
    bootstrap.py  intervals

Records that the truth does not know are left out of all that needs it, and counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resolver.errors import QualityGateError
from resolver.stage import Facts, StageContext

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt

    from resolver.settings import Settings


def watches(settings: Settings) -> Mapping[str, Any]:
    """The files outside the run folder that the figures hang on."""
    from resolver.runs import stat_of

    return stat_of([path for path in (settings.evaluate.truth, settings.evaluate.persons) if path])


def run(context: StageContext) -> Facts:
    metrics = measure(context)
    context.outputs["metrics.json"].write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    after = metrics["pairs"]["after_clustering"] if "pairs" in metrics else metrics["estimated"]
    return {
        "with_truth": "pairs" in metrics,
        **{name: after[name] for name in ("precision", "recall", "f1") if name in after},
        "anomalies": len(metrics["anomalies"]),
    }


def measure(context: StageContext) -> dict[str, Any]:
    import numpy as np

    from resolver import mpi
    from resolver.database import quote
    from resolver.evaluate import anomalies, bootstrap, counts, estimate, fields, figures, groups, stream, symptoms
    from resolver.evaluate import truth as truths

    settings = context.settings.evaluate
    records, slices, events, pairs, decisions, clusters, golden, golden_fields = (
        f"read_parquet({quote(context.inputs[name])})"
        for name in ("records", "slices", "events", "pairs", "decisions", "clusters", "golden", "golden_fields")
    )
    published = json.loads(context.inputs["publish.json"].read_text(encoding="utf-8"))
    with context.connect() as con, context.progress.step("evaluate", 7, "steps") as step:
        cluster = np.asarray(
            con.execute(f"SELECT cluster FROM {clusters} ORDER BY rid").fetchnumpy()["cluster"], dtype=np.int64
        )
        truth = truths.read(con, settings.truth, records) if settings.truth else None
        step.advance(1)
        person = truth.person if truth else None
        walk = stream.walk(con, decisions, pairs, person, len(cluster))
        step.advance(1)
        sizes = np.bincount(cluster)
        sizes = sizes[sizes > 0]
        metrics: dict[str, Any] = {
            "records": len(cluster),
            "persons": len(sizes),
            "sizes": {str(size): int(number) for size, number in enumerate(np.bincount(sizes)) if number},
            "estimated": estimate.estimate(con, decisions, cluster),
            "estimated_slices": groups.estimated(con, records, slices, decisions, clusters),
            "symptoms": symptoms.gather(con, records, events, decisions, pairs, clusters),
            "profile": mpi.profiles(context.settings.index_path, published["run"]),
        }
        step.advance(1)
        if truth is None or person is None:
            metrics |= {
                "truth": None,
                "clusters": {"persons": len(sizes)},
                "blocking": figures.blocking(walk, None, len(cluster)),
                "tiers": figures.tiers(walk, with_truth=False),
            }
            return metrics | {"anomalies": anomalies.find(metrics)}
        laid = counts.lay(person, cluster)
        step.advance(1)
        metrics |= {
            "truth": {
                "records": len(laid.rid),
                "records_without": len(cluster) - len(laid.rid),
                "records_not_in_run": truth.unmatched,
                "persons": laid.persons,
            },
            "pairs": figures.pairs(walk, laid),
            "clusters": {"persons": len(sizes), **counts.of_clusters(laid)},
            "blocking": figures.blocking(walk, laid, len(cluster)),
            "tiers": figures.tiers(walk, with_truth=True),
            "calibration": figures.calibration(walk),
            "baselines": figures.baselines(walk, laid),
            "splink_curve": figures.curve(walk, laid),
            "slices": {
                name: counts.by_value(laid, values, names)
                for name, (values, names) in groups.numbered(con, laid, len(cluster)).items()
            },
        }
        step.advance(1)
        metrics["intervals"] = _intervals(bootstrap, counts, walk, laid, settings.bootstrap, context.settings.run.seed)
        fields.place(con, person, cluster)
        metrics["errors"] = fields.misses(con, records, decisions, pairs)
        step.advance(1)
        if settings.persons:
            fields.load_persons(con, settings.persons, truth.ids)
            metrics["golden"] = fields.golden(con, records, golden, golden_fields)
        step.advance(1)
        return metrics | {"anomalies": anomalies.find(metrics)}


def _intervals(bootstrap: Any, counts: Any, walk: Any, laid: Any, rounds: int, seed: int) -> dict[str, list[float]]:
    """95 % intervals over persons, by the path of the figure in metrics.json."""
    import numpy as np

    sums = counts.person_sums(laid)
    for name, values in (
        ("before_right", walk.before_right),
        ("before_predicted", walk.before_predicted),
        ("found", walk.found),
    ):
        sums[name] = np.bincount(laid.person, weights=values[laid.rid], minlength=laid.persons)
    ratios = {
        "pairs.before_clustering.precision": ("before_right", "before_predicted"),
        "pairs.before_clustering.recall": ("before_right", "true"),
        "pairs.after_clustering.precision": ("after_right", "after_predicted"),
        "pairs.after_clustering.recall": ("after_right", "true"),
        "clusters.perfect_rate": ("perfect", "persons"),
        "clusters.completeness": ("complete", "records"),
        "clusters.purity": ("pure", "records"),
        "clusters.bcubed.precision": ("bcubed_precision", "records"),
        "clusters.bcubed.recall": ("bcubed_recall", "records"),
        "blocking.recall": ("found", "true"),
    }
    found: dict[str, list[float]] = bootstrap.intervals(sums, ratios, rounds, seed)
    return found


def slices_of(
    con: duckdb.DuckDBPyConnection, records: str, slices: str, laid: Any, count: int
) -> dict[str, tuple[npt.NDArray[np.int64], list[str]]]:
    """What results are broken down by: per record the number of its value, and the names of the values."""
    from resolver.evaluate import groups

    groups.lay(con, records, slices)
    return groups.numbered(con, laid, count)


def check_gates(settings: Settings, metrics: Mapping[str, Any]) -> None:
    """Raise where the run stays below a quality gate of its config."""
    gates = {
        "precision": settings.evaluate.min_precision,
        "recall": settings.evaluate.min_recall,
        "f1": settings.evaluate.min_f1,
    }
    wanted = {name: gate for name, gate in gates.items() if gate is not None}
    if not wanted:
        return
    if "pairs" not in metrics:
        raise QualityGateError(
            "A quality gate is set and there is no truth to hold it against.", do="Set evaluate.truth in the config."
        )
    found = metrics["pairs"]["after_clustering"]
    missed = [
        f"{name} is {'unknown' if found[name] is None else format(found[name], '.4f')}, below {gate:g}"
        for name, gate in wanted.items()
        if found[name] is None or found[name] < gate
    ]
    if missed:
        raise QualityGateError(f"The run does not reach its quality gate: pair {'; '.join(missed)}.")
