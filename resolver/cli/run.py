"""`resolver run` and `resolver demo`: the whole way, and the one screen at its end."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from resolver.errors import UsageError, instead

CONFIG = click.argument("config", type=click.Path(path_type=Path))
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, such as link.max_block=500."
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, no progress.")


def _stages(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """For the shell's completion."""
    from resolver import pipeline

    return [stage.name for stage in pipeline.STAGES if stage.name.startswith(incomplete)]


@click.command()
@CONFIG
@click.option(
    "--from", "restart_from", metavar="STAGE", shell_complete=_stages, help="Do this stage and all after it again."
)
@click.option("--only", metavar="STAGE", shell_complete=_stages, help="Do this stage alone, again.")
@click.option("--full", is_flag=True, help="Link and judge everything anew instead of adding to the published index.")
@click.option(
    "--max-pairs", type=click.IntRange(min=0), help="Ask the judge llm about so many pairs at most (llm.max_pairs)."
)
@click.option("--max-cost", type=click.FloatRange(min=0), help="The same as an amount of money (llm.max_cost).")
@SET
@JSON
def run(
    config: Path,
    restart_from: str | None,
    only: str | None,
    full: bool,
    max_pairs: int | None,
    max_cost: float | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Records in, Master Patient Index out.

    Does only what is missing or changed: after a kill, or with new data, run the same command again. Where the index
    holds a published run, only what is new or changed is linked against it.

    \b
    resolver run my.yaml
    resolver run my.yaml --from cluster --set cluster.unscored_logit=-2
    resolver run my.yaml --json | jq .pairs
    """
    from resolver import settings

    budget = {"max_pairs": max_pairs, "max_cost": max_cost}
    overrides += tuple(f"llm.{name}={value}" for name, value in budget.items() if value is not None)
    whole_way(settings.load(config, overrides), typed(config, overrides), restart_from, only, full, as_json)


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True, help="Run folder."
)
@JSON
def demo(out: Path, as_json: bool) -> None:
    """The whole way on the bundled sample of synthetic patients, from records to index and report.

    \b
    resolver demo
    resolver demo --out /tmp/demo
    """
    from resolver import settings
    from resolver.sample import config

    out.mkdir(parents=True, exist_ok=True)
    path = out / "demo.yaml"
    path.write_text(config(out.absolute()), encoding="utf-8")
    whole_way(settings.load(path), typed(path), as_json=as_json)
    if as_json:
        return
    resolver = _as_called()
    click.echo("\nThree things to try next:")
    click.echo("  Why the most doubtful pair is, or is not, one person:")
    click.echo(f"    {resolver} explain {path} --doubtful")
    click.echo("  The index as FHIR resources, in the folder fhir:")
    click.echo(f"    {resolver} mpi export {path} --format fhir --out fhir")
    click.echo("  A config for your own records (DATA is a folder or a file):")
    click.echo(f"    {resolver} init DATA --out my.yaml")


def _as_called() -> str:
    """What to type for this program: its name where the shell finds it, else the path that it was called by."""
    called = Path(sys.argv[0])
    found = shutil.which("resolver")
    if called.name != "resolver" or (found and Path(found).samefile(called)):
        return "resolver"
    return str(called if not called.is_absolute() else _shorter(called))


def _shorter(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def typed(config: Path, overrides: tuple[str, ...] = ()) -> str:
    """A config and its changed settings as a person would type them after another command."""
    return shlex.join([str(config), *(word for one in overrides for word in ("--set", one))])


def whole_way(
    settings: Any,
    config: str,
    restart_from: str | None = None,
    only: str | None = None,
    full: bool = False,
    as_json: bool = False,
) -> None:
    """All stages, the screen at the end, and the gates. `config` is what to type for it."""
    from resolver import evaluate, judges, pipeline, progress, runs
    from resolver.cli import screen

    names = [stage.name for stage in pipeline.STAGES]
    for given in (restart_from, only):
        if given is not None and given not in names:
            raise UsageError(f"There is no stage {given}; {instead(given, names)}")
    judges.known(settings.adjudicate.judges)
    reports = runs.execute(
        pipeline.STAGES,
        settings,
        progress.for_terminal(quiet=as_json),
        restart_from=restart_from,
        only=only,
        base=pipeline.no_base if full else pipeline.base,
    )
    result = screen.gather(settings, reports)
    if as_json:
        click.echo(json.dumps(result, indent=2, default=str))
    else:
        screen.show(result, config)
    if only is None:
        evaluate.check_gates(settings, json.loads(runs.RunFolder(settings.run.dir).file("metrics.json").read_text()))
