"""`resolver infer` and `resolver pods`: the language model apart from the run, launched once and collected later."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.cli.lazy import Lazy
from resolver.cli.run import CONFIG, JSON, SET

if TYPE_CHECKING:
    from llm_classifier.pods.desk import Desk
    from llm_classifier.pods.jobs import Intent
    from llm_classifier.pods.reaper import Found


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
    index. The same pairs are the same job: it is never launched twice. Section pods of the config says where the worker
    runs (this machine, one of yours over ssh, a pod of RunPod), until when, and what it may cost at most.

    \b
    resolver infer my.yaml                 launch; again later: collect, and finish the run
    resolver infer my.yaml --wait          all in one go
    resolver infer my.yaml --cancel        end its workers
    """
    from llm_classifier.pods import asking, cancelling
    from llm_classifier.pods.desk import Desk
    from resolver import settings
    from resolver.cli.run import typed, whole_way
    from resolver.errors import UsageError

    loaded = settings.load(config, overrides)
    if loaded.llm.backend != "pods":
        raise UsageError(f"{config} asks no worker apart from the run.", do="Set llm.backend to pods, and llm.model.")
    if "llm" not in loaded.adjudicate.judges:
        raise UsageError(f"{config} does not ask the judge llm.", do="Add llm to adjudicate.judges.")
    if cancel:
        click.echo(cancelling.cancel(Desk.of_run(loaded)))
        return
    with asking.allowing(asking.Leave(launch=True, wait=wait, again=again)):
        whole_way(loaded, typed(config, overrides), as_json=as_json)


@click.command("list")
@CONFIG
@SET
@JSON
def list_(config: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """All machines of ours that the provider lists, of any job: age, state, deadline and cost so far.

    \b
    resolver pods list my.yaml
    resolver pods list my.yaml --json | jq 'map(select(.minutes_left < 0))'
    """
    _show(config, overrides, as_json, end=False)


@click.command()
@CONFIG
@SET
@JSON
def reap(config: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """End machines that are past their deadline, or whose job is over. For cron, on any machine.

    The deadline is part of a machine's name, so that it works where the record of jobs is lost, or elsewhere. CONFIG
    may be a copy of the run's config that holds section pods alone.

    \b
    */5 * * * *  resolver pods reap /etc/resolver/pods.yaml
    """
    _show(config, overrides, as_json, end=True)


@click.command()
@CONFIG
@click.option("--all", "everything", is_flag=True, help="Also what other configs, or a lost record, have left there.")
@SET
@JSON
def clean(config: Path, everything: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Remove from the bridge what is not needed now: models, and what is left of jobs that are over.

    A job takes its own files away when it is over. Models stay, so that the next job need not bring them again.

    \b
    resolver pods clean my.yaml
    """
    from llm_classifier.pods import cleaning

    desk = _desk(config, overrides)
    jobs = desk.jobs()
    try:
        gone = cleaning.clean(jobs, desk.pods, desk.home, everything=everything)
    finally:
        jobs.close()
    if as_json:
        click.echo(json.dumps(gone, indent=2))
        return
    click.echo("\n".join(f"removed {name[:24]}" for name in gone) or "Nothing of ours is at the bridge.")


def _desk(config: Path, overrides: tuple[str, ...]) -> Desk:
    """Of the config of a run, or of one of `resolver llm`."""
    from llm_classifier import settings as llm_settings
    from llm_classifier.pods.desk import Desk
    from resolver import settings
    from resolver.settings import reading

    if set(reading.content(config)) <= set(llm_settings.LlmSettings.model_fields):
        return Desk.of_models(llm_settings.load(config, overrides), config)
    return Desk.of_run(settings.load(config, overrides))


def _seen(config: Path, overrides: tuple[str, ...]) -> Desk:
    """Where machines come from, and where the record of their jobs is, if it is here."""
    from llm_classifier.pods.desk import RECORD, Desk
    from resolver.errors import UsageError
    from resolver.settings import reading
    from resolver.settings.base import Section
    from resolver.settings.pods import PodsSettings

    class Alone(Section):
        pods: PodsSettings

    content = reading.content(config)
    if set(content) != {"pods"}:
        return _desk(config, overrides)
    for override in overrides:
        reading.put(content, override)
    pods = reading.parse(Alone, content, where=str(config), base=config.parent).pods
    desk = Desk(pods, pods.jobs or config.absolute().with_name(RECORD))
    if pods.provider == "local" and not desk.record.exists():
        raise UsageError(
            f"{config} does not say where the run is whose workers are meant.", do="Give the run's config."
        )
    return desk


def _show(config: Path, overrides: tuple[str, ...], as_json: bool, *, end: bool) -> None:
    from llm_classifier.pods import reaper
    from resolver.errors import RunError

    desk = _seen(config, overrides)
    jobs = desk.jobs() if desk.record.exists() else None
    try:
        found = reaper.look(desk.provider(), time.time, jobs, end=end)
        known = {one.name: one for one in jobs.pods()} if jobs is not None else {}
        told = {job.key: f"{job.state}: {job.why}" for job in jobs.all()} if jobs is not None else {}
    finally:
        if jobs is not None:
            jobs.close()
    rows = [_row(one, known.get(one.pod.name), told) for one in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            click.echo(_line(row))
        if not rows:
            click.echo("No machine of ours is listed.")
    failed = [one for one in found if one.failed]
    if failed:
        raise RunError(f"{len(failed)} machines could not be ended: {failed[0].failed}", do="Call it again.")


def _row(found: Found, intent: Intent | None, jobs: Mapping[str, str]) -> dict[str, Any]:
    now, pod = time.time(), found.pod
    since = intent.asked if intent is not None else None
    created = pod.facts.get("created")
    if since is None and created:  # the record of jobs is lost
        with contextlib.suppress(ValueError):
            since = dt.datetime.fromisoformat(created).timestamp()
    cost = None
    if intent is not None:
        cost = intent.cost(now)
    elif since is not None and pod.price is not None:
        cost = pod.price * (now - since) / 3600
    return {
        "name": pod.name,
        "machine": intent.machine if intent is not None else pod.facts.get("gpu"),
        "status": pod.status,
        "job": found.name.job,
        "job_state": jobs.get(intent.job) if intent is not None else None,
        "age_minutes": None if since is None else round((now - since) / 60, 1),
        "minutes_left": round((found.name.deadline - now) / 60, 1),
        "cost": None if cost is None else round(cost, 4),
        "did": "its end was asked for" if found.ended else "should be gone" if found.late or found.stray else "",
    }


def _line(row: Mapping[str, Any]) -> str:
    parts = [row["status"]]
    if row["machine"]:
        parts.insert(0, row["machine"])
    if row["age_minutes"] is not None:
        parts.append(f"{row['age_minutes']:.0f} min old")
    parts.append(f"{row['minutes_left']:.0f} min left" if row["minutes_left"] > 0 else "past its deadline")
    if row["cost"]:
        parts.append(f"{row['cost']:.2f} USD so far")
    if row["job_state"]:
        parts.append(f"job {row['job_state']}")
    return f"{row['name']}  {', '.join(parts)}{'  ' + row['did'] if row['did'] else ''}"


@click.group(
    cls=Lazy,
    commands_at={
        "list": ("llm_classifier.cli.infer:list_", "Machines of ours: age, state, cost so far."),
        "clean": ("llm_classifier.cli.infer:clean", "Remove models, and what jobs left, from the bridge."),
        "reap": ("llm_classifier.cli.infer:reap", "End machines past their deadline; for cron."),
    },
)
def pods() -> None:
    """Machines of `resolver infer`, and of `resolver llm train` and `export` with --rented: see them, end those that
    should be gone, and clear the bridge."""
