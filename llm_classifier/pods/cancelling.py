"""Ends the machines of all jobs of a config, whatever they do."""

from __future__ import annotations

import time

from llm_classifier.pods import asking, opening
from llm_classifier.pods.desk import Desk
from llm_classifier.pods.machine import Machine


def cancel(desk: Desk) -> str:
    """What came of it, for people."""
    jobs = desk.jobs()
    try:
        left = [job for job in jobs.all() if not job.over]
        if not left:
            return "No job is under way."
        machine = Machine(jobs, desk.provider(), time.time)
        for job in left:
            jobs.cancel(job.key)
            for _ in range(asking.STEPS):
                with opening.leftovers(job, desk.pods, desk.home) as left_of_it:
                    job = machine.step(job.key, left_of_it)
                if job.over:
                    break
        spent = sum(asking.facts(jobs, job.key)["spent_usd"] for job in left)
        over = [jobs.get(job.key) for job in left]
        waiting = [job for job in over if job is not None and not job.over]
    finally:
        jobs.close()
    if waiting:
        return f"{len(waiting)} jobs are being cancelled: their machines are not gone yet. Call it again."
    cost = f" They cost {spent:.2f} USD." if spent else ""
    return (
        f"{len(left)} {'job is' if len(left) == 1 else 'jobs are'} cancelled, and no machine of theirs is left.{cost}"
    )
