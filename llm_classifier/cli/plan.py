"""`resolver llm plan`: which GPU a training fits on, and what it takes."""

from __future__ import annotations

from pathlib import Path

import click

from resolver.errors import UsageError, instead


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting: train.key=value.")
@click.option(
    "--shape", type=click.Choice(["4b", "1b", "tiny"]), help="Instead of the base's own: it need not be there."
)
@click.option("--rows", type=click.IntRange(min=1), help="Prompts to train on. Default: those of the data set.")
@click.option("--tokens", type=click.IntRange(min=1), help="Tokens of a prompt. Default: those of the data set.")
@click.option("--gpus", "table", type=click.Path(path_type=Path), help="Another table of GPUs and prices (CSV).")
@click.option("--gpu", "wanted", metavar="NAME", help="Look at this GPU alone.")
@click.option(
    "--share", type=click.FloatRange(min=0, max=1, min_open=True), help="Measured share of a GPU's peak, for training."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write a config tuned for the cheapest GPU, or that of --gpu."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON and nothing else.")
def plan(
    config: Path,
    overrides: tuple[str, ...],
    shape: str | None,
    rows: int | None,
    tokens: int | None,
    table: Path | None,
    wanted: str | None,
    share: float | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Say on which GPU the training that CONFIG describes fits, how long it takes and what it costs.

    Memory is computed from the model's shape: weights, what is kept per weight that learns, activations by batch and
    length, keys and values. Time is arithmetic at an assumed share of the GPU's peak; benchmarks/llm.py measures it.
    Prices are those of a table with a date and a source per row.

    \b
    resolver llm plan llm.yaml
    resolver llm plan llm.yaml --shape 4b --rows 20000 --tokens 1200
    resolver llm plan llm.yaml --gpu 'L40S' --out l40s.yaml && resolver llm train l40s.yaml
    """
    import dataclasses
    import json

    from llm_classifier import plan as plans
    from llm_classifier import shapes
    from llm_classifier.train import sweep

    settings = sweep.runs(config, overrides)[0].settings
    model = shapes.NAMED[shape] if shape else shapes.of(settings.base)
    dataset = None if rows and tokens else settings.dataset
    work = plans.work_of(dataset, settings, rows, tokens)
    known = plans.gpus(table or plans.TABLE)
    if wanted is not None:
        named = {gpu.name.casefold(): gpu for gpu in known}
        if wanted.casefold() not in named:
            raise UsageError(f"The table has no GPU {wanted}; {instead(wanted, [gpu.name for gpu in known])}")
        known = [named[wanted.casefold()]]
    found = plans.choices(model, settings, work, known, train_share=share or plans.TRAIN_SHARE)
    if out is not None:
        if not found:
            raise UsageError("It fits no GPU of the table.", do="Lower train.batch or dataset.tokens_per_side.")
        plans.write(out, sweep.first(config, overrides), found[0])
    if as_json:
        told = {"model": dataclasses.asdict(model) | {"parameters": model.parameters}, "work": dataclasses.asdict(work)}
        told["choices"] = [dataclasses.asdict(one) | {"gib": one.gib} for one in found]  # type: ignore[assignment]
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(
        f"{_count(model.parameters)} weights, {work.rows:,} prompts of {work.mean_tokens:,.0f} tokens "
        f"(at most {work.longest:,}), {settings.epochs:g} epochs, {settings.batch} pairs a step"
    )
    click.echo(
        f"{'GPU':15}{'method':8}{'at once':>8}{'twice':>7}{'GiB':>7}{'of':>6}{'hours':>8}{'USD':>8}"
        f"{'pairs/s':>12}{'cached':>10}  price"
    )
    for one in found:
        click.echo(
            f"{one.gpu.name:15}{one.method:8}{one.micro_batch:8}{'yes' if one.checkpointing else 'no':>7}{one.gib:7.1f}"
            f"{one.gpu.memory_gib:6.0f}{one.hours:8.2f}{one.usd:8.2f}{one.pairs_per_second:12,.1f}{one.cached_prompts:10,}"
            f"  {one.gpu.price_source}, {one.gpu.price_date}"
        )
    out_of = [gpu.name for gpu in known if gpu.name not in {one.gpu.name for one in found}]
    if out_of:
        click.echo(f"too small: {', '.join(out_of)}")
    click.echo(
        "at once: prompts in memory; twice: activations computed twice (gradient checkpointing); pairs/s: when it "
        "scores;\ncached: longest prompts whose keys and values fit beside the weights. Hours and pairs/s assume "
        f"{share or plans.TRAIN_SHARE:.0%} and {plans.SCORE_SHARE:.0%} of the peak."
    )
    if out is not None:
        click.echo(f"{out}: tuned for {found[0].gpu.name}")


def _count(weights: int) -> str:
    return f"{weights / 1e9:.3g} billion" if weights >= 1e9 else f"{weights / 1e6:.3g} million"
