"""`resolver llm export` and `resolver llm verify`: one folder for vLLM, and proof that it answers right."""

from __future__ import annotations

import json
from pathlib import Path

import click

from llm_classifier.cli.rented import Wanted, desk
from llm_classifier.cli.rented import options as rented_options
from llm_classifier.score import NAMES


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder that does not exist yet.")
@click.option(
    "--rented",
    type=click.Path(path_type=Path),
    metavar="CONFIG",
    help="On a machine that section pods of this config names: launch, then collect.",
)
@rented_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, no progress.")
def export(model: Path, out: Path, rented: Path | None, as_json: bool, **wanted: bool) -> None:
    """Make one folder of a trained MODEL that vLLM loads as it is.

    An adapter is merged into a fresh base in bfloat16; one that was trained on four bits stays in four bits. Beside the
    weights lie golden logits made with them, and serving.json: how a server is started and asked, and how far its
    answers may be off.

    With --rented, the first call packs the model and its base, launches a machine and ends with exit code 75; later
    calls say how it stands, or take the folder home, hold it against the model, and put it where --out says.

    \b
    resolver llm export runs/trained --out models/merged
    resolver llm export runs/trained --out models/merged --rented llm.yaml
    resolver llm verify models/merged
    """
    from llm_classifier.export import export as make
    from resolver.progress import for_terminal

    own, shown = Wanted(**wanted), for_terminal(quiet=as_json)
    own.check(rented=rented is not None)
    if rented is None:
        made = make(model, out, progress=shown)
    else:
        office = desk(rented, (), "resolver llm export MODEL --out OUT --rented CONFIG")
        if own.cancelled(office):
            return
        from llm_classifier.pods import models

        with own.allowed():
            made = models.exported(model, out.absolute(), office, shown)
    told = json.loads((out / "serving.json").read_text(encoding="utf-8"))
    if as_json:
        figures = {"moved": made.moved, "rounding": made.rounding, "tolerance": made.tolerance, "bytes": made.bytes}
        click.echo(json.dumps({"out": str(out), "dtype": made.artifact.dtype, **figures, "serving": told}, indent=2))
        return
    click.echo(f"{out}: {told['architecture']}, {made.artifact.dtype}, {made.bytes / 2**30:.3g} GiB")
    click.echo(f"  merging and rounding moved golden logits by {made.moved:.3g} at most")
    click.echo(f"  arithmetic in bfloat16 moves them by {made.rounding:.3g}; a server may be off by {made.tolerance:g}")
    arguments = " ".join(f"'{one}'" if " " in one or "{" in one else one for one in told["arguments"])
    click.echo(f"  serve: python -m {told['module']} {arguments.replace('MODEL', str(out))}")
    click.echo(f"  verify: resolver llm verify http://HOST:8000 --model {out}")


@click.command()
@click.argument("target", metavar="ENDPOINT|PATH")
@click.option(
    "--model", type=click.Path(path_type=Path), help="Model whose golden logits count. Default: those of PATH."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="How far a logit may be off. Default: as measured when the model was exported.",
)
@click.option(
    "--backend",
    type=click.Choice([name for name in NAMES if name != "vllm-server"]),
    default="transformers",
    show_default=True,
    help="What loads PATH.",
)
@click.option(
    "--vllm-python", type=click.Path(path_type=Path), help="Interpreter with vLLM. Default: .venv-vllm/bin/python."
)
@click.option("--wait", default=60.0, show_default=True, help="Seconds that a server gets to answer at all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def verify(
    target: str,
    model: Path | None,
    tolerance: float | None,
    backend: str,
    vllm_python: Path | None,
    wait: float,
    as_json: bool,
) -> None:
    """Hold what is served at ENDPOINT, or lies in PATH, against a model's golden logits.

    Says how far the answers are off and which differ too much, by number; exit code 3 if any does. No prompt is shown.

    \b
    resolver llm verify http://127.0.0.1:8000 --model models/merged
    resolver llm verify models/copy --model models/merged --json
    """
    from llm_classifier.verify import verify as hold

    found = hold(target, model, tolerance=tolerance, backend=backend, python=vllm_python, wait=wait)
    told = found.as_dict()
    if as_json:
        click.echo(json.dumps({"target": target, **told}, indent=2))
    elif found.agrees:
        click.echo(
            f"{target} answers as the model does: {told['prompts']} golden prompts, off by "
            f"{told['mean_difference']:.4f} on average and {told['largest_difference']:.4f} at most; "
            f"{told['tolerance']:g} is allowed"
        )
    found.check(target)
