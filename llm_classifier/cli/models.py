"""`resolver llm promote`, `rollback` and `models`: which model is in production, why, and what was there before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import QualityGateError, UsageError

if TYPE_CHECKING:
    from llm_classifier.registry.store import Registry, Version
    from llm_classifier.settings import LlmSettings
    from llm_classifier.settings.registry import RegistrySettings

Command = Callable[..., Any]


def at_registry(command: Command) -> Command:
    """The options that say where the registry is and what its bounds are."""
    options = (
        click.option(
            "--registry", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder of the registry."
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="YAML config whose section registry says the folder and the bounds of the gate.",
        ),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting: registry.gate.max_worse=0"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen(
    folder: Path | None, config: Path | None, overrides: tuple[str, ...]
) -> tuple[LlmSettings, RegistrySettings]:
    """The config, and its section registry, which there must be; --registry goes before it."""
    from llm_classifier import settings
    from llm_classifier.settings.registry import RegistrySettings
    from resolver.settings import reading

    if config is not None:
        found = settings.load(config, overrides)
    else:
        content: dict[str, Any] = {} if folder is None else {"registry": {"dir": str(folder)}}
        for override in overrides:
            reading.put(content, override)
        found = reading.parse(settings.LlmSettings, content, where="--set", base=Path.cwd())
    registry = found.registry
    if folder is not None and registry is not None:
        registry = registry.model_copy(update={"dir": folder.absolute()})
    elif folder is not None:
        registry = RegistrySettings(dir=folder.absolute())
    if registry is None:
        raise UsageError("There is no registry named.", do="Say --registry DIR, or --config with a section registry.")
    return found, registry


def opened(settings: RegistrySettings) -> Registry:
    from llm_classifier.registry.store import Registry

    return Registry(settings.dir)


@click.command()
@click.argument("model")
@at_registry
@click.option(
    "--metrics",
    "measured",
    type=click.Path(path_type=Path),
    help="What `resolver llm validate` wrote. Default: validation/metrics.json in the folder of the model.",
)
@click.option("--again", is_flag=True, help="Allow a version that was rolled back.")
@click.option("--dry-run", is_flag=True, help="Only say what the gate would say; the version stays a candidate.")
@click.option("--json", "as_json", is_flag=True, help="The decision as JSON on standard output.")
def promote(
    model: str,
    folder: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    measured: Path | None,
    again: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a model into production, if it is not worse than the one there.

    MODEL is the folder of a model, which is registered first, or the number of a version that already is. Its metrics
    are compared with those of the model in production on the same pinned test set. The decision and its reason are
    written into the registry's history either way. Ends with exit code 3 where the gate is not met.

    \b
    resolver llm promote models/new --registry registry
    resolver llm promote 3 --config llm.yaml --set registry.gate.max_worse=0.01
    resolver llm promote models/new --registry registry --dry-run --json | jq .reasons
    """
    from llm_classifier.registry import metrics

    _, settings = chosen(folder, config, overrides)
    registry = opened(settings)
    if model.isdigit():
        version = registry.version(int(model))
    else:
        version = registry.register(Path(model))
        measured = measured or Path(model) / metrics.FILE
    if measured is not None:
        found = metrics.read(measured)
        version = registry.measure(version, found)
        pin = found.test_set
    else:
        pin = _pin(registry, version, settings)
    if dry_run:
        verdict = registry.judge(version, pin, settings.gate, again=again)
    else:
        verdict = registry.promote(version, pin, settings.gate, again=again)
    if as_json:
        click.echo(json.dumps({"version": version.number, "dry_run": dry_run, **verdict.facts()}, indent=2))
    elif verdict.passed:
        done = "would be put into production" if dry_run else "is in production"
        click.echo(f"{version.name.capitalize()} {done}: {verdict.reason}.")
    if not verdict.passed:
        raise QualityGateError(f"{version.name.capitalize()} is not put into production: {verdict.reason}.")


def _pin(registry: Registry, version: Version, settings: RegistrySettings) -> str:
    """The test set whose figures count for a version that is registered already."""
    wanted = settings.gate.test_set or registry.state().test_set
    if wanted in version.metrics or len(version.metrics) != 1:
        return wanted
    return next(iter(version.metrics))


@click.command()
@at_registry
@click.option("--reason", required=True, help="Why. It is written into the history.")
@click.option("--none", "leave_none", is_flag=True, help="Where there is no version before: leave nothing there.")
@click.option("--json", "as_json", is_flag=True, help="What changed as JSON on standard output.")
def rollback(
    folder: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    reason: str,
    leave_none: bool,
    as_json: bool,
) -> None:
    """Put the version before back into production.

    The version that is taken out is not promoted again unless somebody says --again.

    \b
    resolver llm rollback --registry registry --reason "recall fell on real data"
    """
    out, now = opened(chosen(folder, config, overrides)[1]).roll_back(reason, leave_none=leave_none)
    if as_json:
        click.echo(json.dumps({"out": out.number, "production": None if now is None else now.number}, indent=2))
        return
    there = "nothing is in production now" if now is None else f"{now.name} is in production again"
    click.echo(f"{out.name.capitalize()} was taken out; {there}.")


@click.command()
@at_registry
@click.option("--best", metavar="METRIC", help="Only the version that is best by this figure: the one to build on.")
@click.option(
    "--test-set", "pin", help="Pin of the test set that --best looks at. Default: that of the model in production."
)
@click.option("--compare", nargs=2, type=int, metavar="A B", help="Two versions side by side.")
@click.option("--history", "decisions", is_flag=True, help="Every decision with its reason.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on standard output.")
def models(
    folder: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    best: str | None,
    pin: str | None,
    compare: tuple[int, int] | None,
    decisions: bool,
    as_json: bool,
) -> None:
    """See the models of the registry.

    \b
    resolver llm models --registry registry
    resolver llm models --registry registry --best auprc --json | jq -r .model
    resolver llm models --registry registry --compare 2 3
    resolver llm models --registry registry --history
    """
    from llm_classifier.registry import views

    registry = opened(chosen(folder, config, overrides)[1])
    if sum((best is not None, compare is not None, decisions)) > 1:
        raise UsageError("--best, --compare and --history do not go together.", do="Say one of them.")
    if pin is not None and best is None:
        raise UsageError("--test-set goes with --best.")
    if best is not None:
        found = views.best(registry, best, pin)
        shown: Any = views.facts(found) | {"figure": best}
        table = views.overview([found])
    elif compare is not None:
        rows = views.compare(*(registry.version(number) for number in compare))
        shown = rows
        table = views.side_by_side(rows, *compare)
    elif decisions:
        entries = registry.entries()
        shown = views.decisions(entries)
        table = views.told(entries)
    else:
        versions = registry.versions()
        if not versions and not as_json:
            click.echo(f"{registry.dir} holds no models yet.")
            return
        shown = [views.facts(one) for one in versions]
        table = views.overview(versions)
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    from rich.console import Console

    Console().print(table)
