"""Brings the Master Patient Index up to date with a run, in one transaction, and leaves a receipt in the run folder.

Knows files and order of steps; what a run means for persons is resolver/mpi's.
"""

from __future__ import annotations

from resolver import files
from resolver.database import quote
from resolver.errors import ResolverError, RunError
from resolver.mpi import last_run, runs, snapshot, store
from resolver.settings import Settings
from resolver.stage import Facts, StageContext

READ = ("records", "clusters", "golden", "golden_fields", "decisions")


def stands(settings: Settings, facts: Facts) -> bool:
    """Whether the index still is at the run that these facts tell of. Corrections by people come on top of a run."""
    try:
        found = last_run(settings.index_path)
    except ResolverError:  # locked or damaged: publishing again says so
        return False
    return found is not None and (found.run_id, found.content) == (facts.get("run"), facts.get("content"))


def run(context: StageContext) -> Facts:
    settings = context.settings
    index = settings.index_path
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{index.parent} can't be written: {error.strerror}.", do="Set index.path elsewhere.") from error
    complete = settings.ingest.input == "all"
    content = files.digest_of(
        {"complete": complete, "files": {name: files.digest(path) for name, path in context.inputs.items()}}
    )
    with (
        context.progress.step("publish"),
        store.write(
            index,
            new=True,
            memory_gib=settings.run.memory_gib,
            threads=settings.run.threads,
            spill=context.scratch,
        ) as change,
    ):
        published = runs.last(change.con)
        if published is None or published.content != content:
            for name in READ:
                change.con.execute(f"CREATE TEMP VIEW in_{name} AS FROM read_parquet({quote(context.inputs[name])})")
            published = runs.bring_in(
                change, complete=complete, config=files.digest_of(settings.model_dump(mode="json")), content=content
            )
        if snapshot.find(index, published.run_id, content)[0] is None:
            snapshot.keep(index, published.run_id, content, context.inputs)
    snapshot.drop_others(index, published.run_id)
    facts: Facts = {"index": str(index), "run": published.run_id, "content": content, **published.counts}
    files.write_json(context.outputs["publish.json"], facts)
    return facts
