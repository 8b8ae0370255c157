"""`resolver llm train` and `resolver llm calibrate`: a model from a base and a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llm_classifier.cli.rented import Wanted, desk
from llm_classifier.cli.rented import options as rented_options
from resolver.errors import ResolverError, TrainingError, UsageError

if TYPE_CHECKING:
    from llm_classifier.artifact import Artifact
    from llm_classifier.train.sweep import Run

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting: train.key=value.")
@click.option(
    "--sweep",
    type=click.Choice(["run", "list", "slurm"]),
    default="run",
    show_default=True,
    help="Of a config with lists: run all in turn, list a command per run, or print a Slurm array script.",
)
@click.option("--job", type=click.IntRange(min=0), help="Of a config with lists: this run alone, by its number.")
@click.option("--rented", is_flag=True, help="On a machine that section pods names: launch, then collect.")
@rented_options
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def train(
    config: Path,
    overrides: tuple[str, ...],
    sweep: str,
    job: int | None,
    rented: bool,
    quiet: bool,
    as_json: bool,
    **wanted: bool,
) -> None:
    """Train the language-model judge as the section train of CONFIG says (configs/llm.yaml).

    After a kill, the same command goes on from the last checkpoint. A list in the section makes a sweep: every
    combination of the lists' values is a run of its own, in a folder of its own; what is finished is not done again.

    With --rented, the first call packs base, data set and settings, launches a machine and ends with exit code 75:
    come back later. Later calls say how it stands, or take the model home, hold it against what was asked, and put it
    where train.out says. Columns that only evaluation reads stay here, for resolver llm validate.

    \b
    resolver llm train llm.yaml
    resolver llm train llm.yaml --set train.method=qlora --set train.out=qlora
    resolver llm train llm.yaml --set 'train.learning_rate=[1e-4, 2e-4]' --set 'train.rank=[8, 16]'
    resolver llm train llm.yaml --sweep slurm > sweep.sh && sbatch sweep.sh
    resolver llm train llm.yaml --rented             launch; again later: collect
    resolver llm train llm.yaml --rented --wait      all in one go
    resolver llm train llm.yaml --rented --cancel    end its machine
    """
    from llm_classifier.train import RECORD
    from llm_classifier.train import sweep as sweeps
    from llm_classifier.train import train as do
    from resolver import progress

    own = Wanted(**wanted)
    own.check(rented=rented)
    found = sweeps.runs(config, overrides)
    many = bool(found[0].name)
    if job is not None:
        if job >= len(found):
            raise UsageError(f"There is no run {job}: {config} asks for {len(found)}, counted from 0.")
        found = found[job : job + 1]
    elif sweep == "list":
        for run in found:
            click.echo(sweeps.command(config, overrides, str(run.number)))
        return
    elif sweep == "slurm":
        folder = found[0].settings.out.parent if many else found[0].settings.out
        folder.mkdir(parents=True, exist_ok=True)  # Slurm loses the logs where there is none
        click.echo(sweeps.slurm(config, overrides, len(found), folder), nl=False)
        return
    shown = progress.for_terminal(quiet or as_json)
    failed: list[tuple[Run, ResolverError]] = []
    made: list[Artifact] = []
    if rented:
        office = desk(config, overrides, "resolver llm train CONFIG --rented")
        if own.cancelled(office):
            return
        if len(found) > 1:
            raise UsageError(
                f"{config} asks for {len(found)} runs, and a rented machine does one.",
                do="Launch each by its number: --rented --job 0, and so on; --sweep list shows them.",
            )
        from llm_classifier.pods import models

        with own.allowed():
            made.append(models.trained(found[0].settings, office, shown))
    for run in () if rented else found:
        if run.name and not (quiet or as_json):
            shown.say(f"run {run.name}")
        try:
            made.append(do(run.settings, shown))
        except ResolverError as error:
            if len(found) == 1:
                raise
            failed.append((run, error))
    rows = sweeps.table(sweeps.runs(config, overrides), RECORD) if many else []
    if rows:
        sweeps.keep(found[0].settings.out.parent, rows)
    if not many:
        _tell(found[0].settings.out, made[0], as_json)
    elif as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _show_sweep(rows)
    if failed:
        names = ", ".join(run.name for run, _ in failed)
        raise TrainingError(f"{len(failed)} of {len(found)} runs failed ({names}); the first: {failed[0][1]}")


@click.command()
@click.argument("model", type=FOLDER)
@click.argument("dataset", type=FOLDER)
@click.option("--method", type=click.Choice(["temperature", "platt"]), default="platt", show_default=True)
@click.option(
    "--score-tokens", default=16_384, show_default=True, type=click.IntRange(min=1), help="In memory at once."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def calibrate(model: Path, dataset: Path, method: str, score_tokens: int, quiet: bool, as_json: bool) -> None:
    """Calibrate a model anew, on the calibration split of DATASET, whose weights give it the gray zone's own mix.

    `resolver llm train` has done so already; this is for another method, a data set made anew, or an exported model,
    whose rounding differs. Raw logits stay what is stored; only artifact.json changes.

    \b
    resolver llm calibrate model dataset
    resolver llm calibrate model dataset --method temperature
    """
    from llm_classifier import calibrate as calibration
    from resolver import progress

    shown = progress.for_terminal(quiet or as_json)
    chosen: Any = method
    told, gain = calibration.calibrate(model, dataset, method=chosen, progress=shown, batch_tokens=score_tokens)
    if as_json:
        click.echo(json.dumps({"calibration": told.calibration, "validation": gain}, indent=2))
        return
    click.echo(f"{model}: temperature {told.calibration['temperature']:.4g}, bias {told.calibration['bias']:+.4g}")
    for name, figures in gain.items():
        click.echo(
            f"  {name:10}  " + ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in figures.items())
        )


def _tell(out: Path, made: Artifact, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"out": str(out), **made.metrics}, indent=2))
        return
    click.echo(f"{out}: {made.kind}, {made.weights}, {made.made['steps']:,} steps, fingerprint {made.fingerprint}")
    for split, figures in made.metrics.items():
        told = ", ".join(
            f"{name.replace('_', ' ').replace('au', 'AU').replace('roc', 'ROC').replace('prc', 'PRC')} "
            f"{figures[name]['value']:.4f}{_interval(figures[name])}"
            for name in ("auprc", "auroc", "calibration_error")
        )
        click.echo(f"  {split}, {figures['pairs']:,} pairs: {told}")


def _interval(figure: dict[str, float]) -> str:
    return f" [{figure['low']:.4f}, {figure['high']:.4f}]" if "low" in figure else ""


def _show_sweep(rows: list[dict[str, Any]]) -> None:
    click.echo(f"{'AUPRC':>7} {'AUROC':>7} {'log loss':>9} {'s':>7}  run (validation split, best first)")
    for row in rows:
        click.echo(
            f"{row['auprc']:7.4f} {row['auroc']:7.4f} {row['log_loss']:9.4f} {row['seconds']:7.0f}  {row['run']}"
        )
