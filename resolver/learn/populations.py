"""Brings labelled populations to where judges can be fitted to them: ingest and link, then features and truth.

A population is a config that says where its records are and where its truth is. Knows nothing of models.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from resolver import database, runs, settings
from resolver.database import quote
from resolver.errors import UsageError
from resolver.evaluate import counts, slices_of
from resolver.evaluate import truth as truths
from resolver.learn import profile, sample, unlabelled
from resolver.learn.labelled import Population
from resolver.progress import Progress

STAGES_NEEDED = ("ingest", "link")


def load(config: Path, progress: Progress) -> Population:
    """Run what is missing of the first stages, and read what they left. Named by its config's file name."""
    from resolver import pipeline

    loaded = settings.load(config)
    if loaded.evaluate.truth is None:
        raise UsageError(f"{config} names no truth.", do="Set evaluate.truth to a file with record_id and person_id.")
    progress.say(f"{config.stem}: ingest and link, as far as they are not done")
    first = [stage for stage in pipeline.STAGES if stage.name in STAGES_NEEDED]
    runs.execute(first, loaded, progress, base=pipeline.base)
    folder = runs.RunFolder(loaded.run.dir)
    records, events = folder.require("records"), folder.require("events")
    progress.say(f"{config.stem}: features")
    with database.connect(memory_gib=loaded.run.memory_gib, threads=loaded.run.threads) as con:
        drawn = sample.draw(
            con, records, events, folder.require("pairs"), most=loaded.learn.max_pairs, folds=unlabelled.FOLDS
        )
        table = f"read_parquet({quote(records)})"
        person = truths.read(con, loaded.evaluate.truth, table).person
        slices = f"read_parquet({quote(folder.require('slices'))})"
        laid = counts.lay(person, np.arange(len(person)))
        return Population(
            config.stem,
            drawn,
            person,
            profile.of(con, records, events),
            slices_of(con, table, slices, laid, len(person)),
        )
