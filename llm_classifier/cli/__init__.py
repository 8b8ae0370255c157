"""`resolver llm ...`: one file per family of commands, each loaded only when it is called."""

from __future__ import annotations

import click

from resolver.cli.lazy import Lazy

# Command -> where it is defined and its line in --help, which must not need an import. In the order of the work.
COMMANDS: dict[str, tuple[str, str]] = {
    "dataset": ("llm_classifier.cli.dataset:dataset", "Labelled pairs of histories, split by person."),
    "base": ("llm_classifier.cli.base:base", "The text-only base of a multimodal checkpoint."),
    "plan": ("llm_classifier.cli.plan:plan", "Which GPU a training fits on, how long it takes, what it costs."),
    "train": ("llm_classifier.cli.train:train", "Train the model; lists in the config make a sweep."),
    "calibrate": ("llm_classifier.cli.train:calibrate", "Calibrate a model anew on held-out pairs."),
    "encoder": ("llm_classifier.cli.encoder:encoder", "The fusion encoder: train it, and show what it reads."),
    "validate": ("llm_classifier.cli.validate:validate", "How good a model is, for whom, and what is odd about it."),
    "explain": ("llm_classifier.cli.validate:explain", "What each section of two histories adds to an answer."),
    "export": ("llm_classifier.cli.export:export", "Make one folder of a trained model that vLLM loads as it is."),
    "verify": ("llm_classifier.cli.export:verify", "Hold a server or a folder against a model's golden logits."),
    "promote": ("llm_classifier.cli.models:promote", "Put a model into production, behind a gate."),
    "rollback": ("llm_classifier.cli.models:rollback", "Put the version before back into production."),
    "models": ("llm_classifier.cli.models:models", "See the registry: all, the best, two side by side, decisions."),
    "workflow": ("llm_classifier.cli.workflow:workflow", "From a config to a model in production, in one command."),
    "predeploy": ("llm_classifier.cli.predeploy:predeploy", "Go or no-go before a model is served or paid for."),
    "deploy": ("llm_classifier.cli.deploy:deploy", "Write the manifest that serves the model in production."),
}


@click.group(cls=Lazy, commands_at=COMMANDS)
def llm() -> None:
    """The language-model judge: its data set, training, promotion and serving.

    Needs the extra llm: pip install 'resolver[llm]'.
    """
