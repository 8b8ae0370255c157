"""`resolver llm base`: what is trained."""

from __future__ import annotations

from pathlib import Path

import click

from resolver.errors import UsageError

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("folders", nargs=-1, type=FOLDER, metavar="[SOURCE] OUT")
@click.option("--tiny", is_flag=True, help="Make a tiny base with random weights, to try everything without a GPU.")
@click.option("--from", "dataset", type=FOLDER, help="tiny: a data set, whose prompts the tokenizer learns from.")
@click.option("--width", default=64, show_default=True, type=click.IntRange(min=16), help="tiny: width of the model.")
@click.option("--layers", default=2, show_default=True, type=click.IntRange(min=1), help="tiny: how many layers.")
@click.option(
    "--vocabulary", default=2048, show_default=True, type=click.IntRange(min=300), help="tiny: tokens, at most."
)
@click.option("--seed", default=0, show_default=True, help="tiny: of the random weights.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON and nothing else.")
def base(
    folders: tuple[Path, ...],
    tiny: bool,
    dataset: Path | None,
    width: int,
    layers: int,
    vocabulary: int,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make the text-only base of a multimodal Gemma 3 checkpoint, such as MedGemma 4B.

    The whole model is loaded, its language weights are moved, and what was written is held against it: not one tensor
    may have stayed at a random start, and logits must be equal before and after. Weights come from disk; MedGemma is
    gated: accept its terms on its page, then `hf download google/medgemma-4b-it --local-dir medgemma-4b-it`.

    \b
    resolver llm base medgemma-4b-it base
    resolver llm base --tiny base --from dataset        a tiny one with random weights: it knows nothing
    """
    import json

    from llm_classifier import base as bases
    from resolver import progress

    shown = progress.for_terminal(quiet or as_json)
    if len(folders) != (1 if tiny else 2):
        raise UsageError(
            "resolver llm base takes " + ("one folder with --tiny: OUT." if tiny else "two folders: SOURCE and OUT."),
            do="See resolver llm base --help.",
        )
    if dataset is not None and not tiny:
        raise UsageError("--from is for --tiny.", do="Leave it out.")
    if tiny:
        if width % 8:
            raise UsageError(
                f"--width {width} can't be shared by four heads of even width.", do="Take a multiple of 8."
            )
        told = bases.tiny_base(folders[0], dataset, width=width, layers=layers, vocabulary=vocabulary, seed=seed)
    else:
        source, out = folders
        told = bases.extract(source, out, shown)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    elif tiny:
        said = f"{told['parameters']:,} random weights, {told['vocabulary']:,} tokens; it knows nothing"
        click.echo(f"{folders[0]}: {said}")
    else:
        click.echo(
            f"{folders[1]}: {told['parameters']:,} weights in {told['tensors']} tensors ({told['dtype']}), "
            f"none random; logits differ by {told['largest_logit_difference']:.2g}"
        )
