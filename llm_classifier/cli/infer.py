"""`resolver infer` and `resolver pods`: the language model apart from the run, launched once and collected later."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.cli.lazy import Lazy
from resolver.cli.run import CONFIG, JSON, SET

if TYPE_CHECKING:
    from llm_classifier.pods.reaper import Found
    from resolver.settings import Settings


@click.command()
@CONFIG
@click.option("--wait", is_flag=True, help="Stay until it is done, instead of exit code 75.")
@click.option("--again", is_flag=True, help="Try a job that failed or was cancelled once more.")
@click.option("--cancel", is_flag=True, help="End the machines of this config's jobs; what came back is kept.")
@SET
@JSON
def infer(config: Path, wait: bool, again: bool, cancel: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """The whole way with a language model that works apart from the run: launch, then collect.

    The first call does what needs no model, hands the open pairs to a worker and ends with exit code 75: come back
    later. Later calls say how it stands, or collect the answers, hold them against what was asked, and go on to the
    index. The same pairs are the same job: it is never launched twice. The worker is a process of its own on this
    machine, with a deadline (section pods of the config); rented machines are to follow.

    \b
    resolver infer my.yaml                 launch; again later: collect, and finish the run
    resolver infer my.yaml --wait          all in one go
    resolver infer my.yaml --cancel        end its workers
    """
    from llm_classifier.pods import asking
    from resolver import settings
    from resolver.cli.run import whole_way
    from resolver.errors import UsageError

    loaded = settings.load(config, overrides)
    if loaded.llm.backend != "pods":
        raise UsageError(f"{config} asks no worker apart from the run.", do="Set llm.backend to pods, and llm.model.")
    if "llm" not in loaded.adjudicate.judges:
        raise UsageError(f"{config} does not ask the judge llm.", do="Add llm to adjudicate.judges.")
    if cancel:
        click.echo(_cancel(loaded))
        return
    with asking.allowing(asking.Leave(launch=True, wait=wait, again=again)):
        whole_way(loaded, as_json=as_json)


def _cancel(settings: Settings) -> str:
    from llm_classifier.pods import asking
    from llm_classifier.pods.jobs import Jobs
    from llm_classifier.pods.machine import Machine

    jobs = Jobs(asking.place_of_jobs(settings))
    try:
        left = [job for job in jobs.all() if not job.over]
        if not left:
            return "No job is under way."
        machine = Machine(jobs, asking.provider(settings), time.time)
        for job in left:
            jobs.cancel(job.key)
            for _ in range(asking.STEPS):
                job = machine.step(job.key, asking.nothing)
                if job.over:
                    break
        over = [jobs.get(job.key) for job in left]
        waiting = [job for job in over if job is not None and not job.over]
    finally:
        jobs.close()
    if waiting:
        return f"{len(waiting)} jobs are being cancelled: their machines are not gone yet. Call it again."
    return f"{len(left)} {'job is' if len(left) == 1 else 'jobs are'} cancelled, and no machine of theirs is left."


@click.command("list")
@CONFIG
@SET
@JSON
def list_(config: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """All machines of ours that the provider lists, of any job: age, state, deadline and cost so far."""
    _show(config, overrides, as_json, end=False)


@click.command()
@CONFIG
@SET
@JSON
def reap(config: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """End machines that are past their deadline, or whose job is over. For cron, on any machine.

    The deadline is part of a worker's name, so that it works where the record of jobs is lost.

    \b
    */5 * * * *  resolver pods reap /etc/resolver/pods.yaml
    """
    _show(config, overrides, as_json, end=True)


def _show(config: Path, overrides: tuple[str, ...], as_json: bool, *, end: bool) -> None:
    from llm_classifier.pods import asking, reaper
    from llm_classifier.pods.jobs import Jobs
    from resolver import settings
    from resolver.errors import RunError

    loaded = settings.load(config, overrides)
    place = asking.place_of_jobs(loaded)
    jobs = Jobs(place) if place.exists() else None
    try:
        found = reaper.look(asking.provider(loaded), time.time, jobs, end=end)
        costs = {one.name: one.cost(time.time()) for one in jobs.pods()} if jobs is not None else {}
    finally:
        if jobs is not None:
            jobs.close()
    rows = [_row(one, costs.get(one.pod.name)) for one in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            cost = "" if row["cost"] is None else f", {row['cost']:.2f} USD so far"
            left = f"{row['minutes_left']:.0f} min left" if row["minutes_left"] > 0 else "past its deadline"
            click.echo(f"{row['name']}  {row['status']}, {left}{cost}{'  ' + row['did'] if row['did'] else ''}")
        if not rows:
            click.echo("No machine of ours is listed.")
    failed = [one for one in found if one.failed]
    if failed:
        raise RunError(f"{len(failed)} machines could not be ended: {failed[0].failed}", do="Call it again.")


def _row(one: Found, cost: float | None) -> dict[str, Any]:
    did = "its end was asked for" if one.ended else "should be gone" if one.late or one.stray else ""
    return {
        "name": one.pod.name,
        "status": one.pod.status,
        "job": one.name.job,
        "minutes_left": round((one.name.deadline - time.time()) / 60, 1),
        "cost": cost,
        "did": did,
    }


@click.group(
    cls=Lazy,
    commands_at={
        "list": ("llm_classifier.cli.infer:list_", "Machines of ours: age, state, cost so far."),
        "reap": ("llm_classifier.cli.infer:reap", "End machines past their deadline; for cron."),
    },
)
def pods() -> None:
    """Workers of `resolver infer`: see them, and end those that should be gone."""
