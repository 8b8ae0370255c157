"""`resolver llm deploy`: the serving manifest for what is in production, and waiting until it is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from llm_classifier.cli.models import at_registry, chosen, opened
from resolver.errors import UsageError


@click.command()
@at_registry
@click.option("--to", "target", type=click.Choice(["compose", "kserve"]), help="What to write a manifest for.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it. Default: compose.yaml or inference-service.yaml here.",
)
@click.option("--wait", "endpoint", metavar="ENDPOINT", help="Wait until the server there gives the golden logits.")
@click.option("--json", "as_json", is_flag=True, help="What was written and found, as JSON on standard output.")
def deploy(
    folder: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    target: Any,
    out: Path | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Write the serving manifest for the model in production, or wait until it is served.

    Nothing is started: apply the manifest with docker compose or kubectl. A server counts as healthy only after it
    gives the golden logits of the model in production. Ends with exit code 3 where it gives others, with 75 where it
    does not answer in time.

    \b
    resolver llm deploy --to compose --config llm.yaml && docker compose up -d
    resolver llm deploy --to kserve --config llm.yaml --out service.yaml && kubectl apply -f service.yaml
    resolver llm deploy --wait http://127.0.0.1:8000 --config llm.yaml
    """
    from llm_classifier.deploy import manifests
    from resolver import files, progress

    if target is None and endpoint is None:
        raise UsageError("There is nothing to do.", do="Say --to compose, --to kserve or --wait ENDPOINT.")
    if out is not None and target is None:
        raise UsageError("--out goes with --to.")
    settings, where = chosen(folder, config, overrides)
    registry = opened(where)
    version = registry.require_production()
    registry.check(version)
    told: dict[str, Any] = {"version": version.number, "fingerprint": version.artifact.fingerprint}
    if target is not None:
        path = manifests.path_of(target, out)
        files.write_text(path, manifests.write(target, version, settings.deploy))
        told["manifest"] = str(path)
        if not as_json:
            click.echo(f"{path}: {version.name}, to be served with {target}")
    if endpoint is not None:
        from llm_classifier.deploy import waiting

        found = waiting.wait(endpoint, version.model, settings.deploy, progress.for_terminal(quiet=as_json))
        told |= {"endpoint": endpoint, "golden": found.as_dict()}
        if not as_json:
            click.echo(
                f"{endpoint} is healthy: {len(found.golden)} golden logits agree, the largest difference is "
                f"{found.off.max():.4g} of {found.tolerance:g} allowed"
            )
    if as_json:
        click.echo(json.dumps(told, indent=2))
