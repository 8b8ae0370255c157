"""Removes from a bridge what lies there: models, which stay to be used again, and files of jobs that are over."""

from __future__ import annotations

from pathlib import Path

from llm_classifier.pods import opening
from llm_classifier.pods.carrying import MODEL
from llm_classifier.pods.jobs import Jobs
from llm_classifier.pods.seals import Seals
from resolver.errors import UsageError
from resolver.settings.pods import PodsSettings


def clean(jobs: Jobs, pods: PodsSettings, home: Path, *, everything: bool = False) -> list[str]:
    """What was removed: the first part of names. `everything`: also what the record knows nothing of, which other
    configs may have put there."""
    if any(not job.over for job in jobs.all()):
        raise UsageError("A job of this config is under way.", do="Let it end first, or cancel it with --cancel.")
    known, seals = {job.key for job in jobs.all()}, Seals(home / "seals")
    with opening.bridge(pods, home) as bridge:
        tops = sorted({name.partition("/")[0] for name in bridge.names("")})
        gone = [top for top in tops if everything or top in known or top.startswith(MODEL)]
        for top in gone:
            bridge.remove(f"{top}/")
            seals.destroy(top)
    return gone
