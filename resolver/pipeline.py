"""The stages in order: the first file to read.

    sources -> ingest -> link -> learn -> adjudicate -> decide -> cluster -> golden -> publish -> evaluate -> report

Each stage is a function of tables and settings to tables (resolver/stage.py). Every arrow is a file in the run folder,
declared in resolver/tables.py. resolver/runs.py runs the stages, and only those whose inputs changed.
"""

from __future__ import annotations

from resolver import (
    adjudicate,
    cluster,
    decide,
    evaluate,
    golden,
    ingest,
    learn,
    link,
    mpi,
    publish,
    report,
)
from resolver.progress import Progress
from resolver.settings import Settings
from resolver.stage import Base, Stage

STAGES: tuple[Stage, ...] = (
    Stage(
        "ingest",
        "read the sources, normalise, put aside what can't be used",
        reads=(),
        writes=("records", "slices", "events", "rejected"),
        sections=("sources", "ingest"),
        run=ingest.run,
        watches=ingest.watches,
        adds=True,
    ),
    Stage(
        "link",
        "propose candidate pairs and score them with Splink",
        reads=("records", "events"),
        writes=("pairs", "link_model.json", "link_tf.parquet"),
        sections=("link",),
        run=link.run,
        adds=True,
    ),
    Stage(
        "learn",
        "fit the embedded judges, or take the model that ships",
        reads=("records", "events", "pairs"),
        writes=("learned.json",),
        sections=("learn", "cluster"),
        run=learn.run,
        watches=learn.watches,
        adds=True,
    ),
    Stage(
        "adjudicate",
        "ask the judges about the pairs",
        reads=("records", "events", "pairs", "learned.json"),
        writes=("verdicts", "judges.json", "clinical_population.parquet", "value_counts.parquet"),
        sections=("adjudicate", "llm", "encoder", "decide"),
        run=adjudicate.run,
        watches=adjudicate.watches,
        adds=True,
    ),
    Stage(
        "decide",
        "add up the log-odds: match, non-match or gray",
        reads=("pairs", "link_model.json", "verdicts", "judges.json"),
        writes=("decisions",),
        sections=("adjudicate", "decide"),
        run=decide.run,
    ),
    Stage(
        "cluster",
        "make persons of pairs",
        reads=("records", "pairs", "decisions"),
        writes=("clusters", "cuts"),
        sections=("cluster",),
        run=cluster.run,
    ),
    Stage(
        "golden",
        "choose the best value of each field for each person",
        reads=("records", "events", "clusters"),
        writes=("golden", "golden_fields"),
        sections=("golden",),
        run=golden.run,
    ),
    Stage(
        "publish",
        "bring the Master Patient Index up to date",
        reads=(
            *("records", "clusters", "golden", "golden_fields", "decisions"),
            # Kept beside the index for the run that adds to this one.
            *("slices", "events", "pairs", "link_model.json", "link_tf.parquet", "learned.json", "verdicts"),
        ),
        writes=("publish.json",),
        sections=("index", "ingest"),
        run=publish.run,
        stands=publish.stands,
    ),
    Stage(
        "evaluate",
        "compare with the truth, where there is one; point out what is strange",
        reads=(
            *("records", "slices", "events", "pairs", "decisions", "clusters", "golden", "golden_fields"),
            "publish.json",
        ),
        writes=("metrics.json",),
        sections=("evaluate", "index"),
        run=evaluate.run,
        watches=evaluate.watches,
    ),
    Stage(
        "report",
        "write the report",
        reads=("records", "rejected", "pairs", "decisions", "clusters", "cuts", "golden_fields", "metrics.json"),
        writes=("report.html",),
        sections=("report", "evaluate"),
        run=report.run,
    ),
)


def base(settings: Settings, progress: Progress) -> Base | None:
    """The last run in the index, which a new run adds to."""
    last = mpi.last_run(settings.index_path)
    files = mpi.base(settings.index_path, progress.say) if last else None
    return Base(last.run_id, files) if last and files else None


def no_base(settings: Settings, progress: Progress) -> Base | None:
    """For a run that does everything anew."""
    return None
