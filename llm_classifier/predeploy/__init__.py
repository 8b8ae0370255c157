"""Go or no-go before a model is served or paid for: one report of everything that can be known beforehand.

    checks.py       registry, data pin, config, serving contract, price, memory, disk, keys, network
    scan.py         what the model remembers of its training data
    memorised.py    how remembering is told from chance
    likelihood.py   how likely a causal model finds a string
    outcome.py      what a check says

Changes nothing and pays for nothing. What could not be looked at is said, and counts as neither.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from llm_classifier import artifact
from llm_classifier.predeploy import checks
from llm_classifier.predeploy.outcome import Check, Report, go, no_go
from llm_classifier.registry.store import Registry, Version
from llm_classifier.settings.predeploy import PredeploySettings
from resolver.errors import ResolverError
from resolver.progress import Progress

if TYPE_CHECKING:
    from llm_classifier.artifact import Artifact
    from llm_classifier.dataset import Dataset
    from llm_classifier.predeploy.memorised import Likelihoods
    from llm_classifier.score import Backend

# In this order. Those of the model say the same everywhere; the others hang on this machine, this price, this moment.
OF_MODEL = ("files", "config", "contract", "golden", "memorisation")
OF_PLACE = ("registry", "data", "price", "memory", "disk", "keys", "network")
SECONDS = 60.0  # that a server gets to answer at all
NAMES = (*OF_MODEL[:3], *OF_PLACE, *OF_MODEL[3:])


def run(
    model: Path,
    settings: PredeploySettings,
    progress: Progress,
    *,
    registry: Registry | None = None,
    version: Version | None = None,
    endpoint: str | None = None,
    only: Collection[str] = NAMES,
) -> Report:
    """`endpoint`: ask the server there instead of loading the model here."""
    try:
        told = artifact.check(model)
    except ResolverError as error:
        return Report(str(model), (no_go("files", error.what, error.do or ""),))
    pairs = _dataset(settings.dataset) if {"data", "price", "memorisation"} & set(only) else None
    mean = None if pairs is None else float(pairs.split("test")["tokens"].to_numpy().mean())
    test_set = "" if registry is None else registry.state().test_set
    looks: dict[str, Callable[[], Check]] = {
        "files": lambda: go("files", f"whole, fingerprint {told.fingerprint}"),
        "registry": lambda: checks.registry(registry, version),
        "data": lambda: checks.data("" if pairs is None else pairs.pin, version, test_set, settings.dataset),
        "config": lambda: checks.config(model, told),
        "contract": lambda: checks.contract(model, told, _tokenizer(model)),
        "price": lambda: checks.price(told, mean, settings),
        "memory": lambda: checks.memory(model, settings),
        "disk": lambda: checks.disk(model, settings),
        "keys": lambda: checks.keys(settings.keys),
        "network": lambda: checks.network(settings.hosts),
    }
    found = [_looked(name, looks[name], progress) for name in NAMES if name in only and name in looks]
    if {"golden", "memorisation"} & set(only):
        found += _asked(model, told, settings, progress, pairs, endpoint, only)
    return Report(str(model), tuple(found))


def _looked(name: str, look: Callable[[], Check], progress: Progress) -> Check:
    progress.say(name)
    try:
        return look()
    except ResolverError as error:
        return no_go(name, error.what, error.do or "")


def _asked(
    model: Path,
    told: Artifact,
    settings: PredeploySettings,
    progress: Progress,
    pairs: Dataset | None,
    endpoint: str | None,
    only: Collection[str],
) -> list[Check]:
    """The checks for which the model has to answer; it is loaded once for all of them."""
    from llm_classifier import golden, score
    from llm_classifier.predeploy import scan

    backend: list[Backend] = []

    def opened() -> Backend:
        if not backend:
            which = "vllm-server" if endpoint else "transformers"
            backend.append(score.open_backend(model, backend=which, endpoint=endpoint, give_up_after=SECONDS))
        return backend[0]

    def answers() -> Check:
        compared = golden.compare(opened(), model)
        compared.check(endpoint or str(model))
        says = (
            f"{len(compared.golden)} agree, off by {compared.off.max():.4g} at most of {compared.tolerance:g} allowed"
        )
        return go("golden", says)

    def remembers() -> Check:
        return scan.scan(
            model,
            told,
            settings.scan,
            pairs=pairs,
            ask=lambda prompts: golden.ask(opened(), list(prompts)),
            likely=lambda: _likelihoods(model),
        )

    looks = {"golden": answers, "memorisation": remembers}
    try:
        return [_looked(name, look, progress) for name, look in looks.items() if name in only]
    finally:
        for one in backend:
            one.close()


def _likelihoods(model: Path) -> Likelihoods:
    from llm_classifier.predeploy import likelihood
    from llm_classifier.score import loading

    loaded = loading.load(model)
    return lambda beginning, strings: likelihood.of(loaded, beginning, strings)


def _dataset(folder: Path | None) -> Dataset | None:
    if folder is None:
        return None
    from llm_classifier import dataset

    return dataset.read(folder)


def _tokenizer(model: Path) -> object:
    from llm_classifier.needs import need, quiet

    quiet()
    return need("transformers").AutoTokenizer.from_pretrained(model)
