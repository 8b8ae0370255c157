"""The checks that need no model in memory: registry, data pin, config, contract, price, room, keys, network.

Each takes what it looks at and returns one outcome. None changes anything.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from llm_classifier import artifact, prompt
from llm_classifier.artifact import Artifact
from llm_classifier.export import ARCHITECTURES
from llm_classifier.predeploy.outcome import Check, go, no_go, not_checked
from llm_classifier.registry.metrics import short
from llm_classifier.registry.store import Registry, Version
from llm_classifier.settings.predeploy import PredeploySettings
from resolver.errors import ResolverError

CONNECT_SECONDS = 5.0
PATHS = {"classifier": "/classify", "causal": "/v1/completions"}  # where scoring asks a server


def registry(store: Registry | None, version: Version | None) -> Check:
    """The history is whole, the version is in production, and its files are those that were registered."""
    if store is None or version is None:
        return not_checked("registry", "this folder is no version of a registry", "Promote it, and check the version.")
    try:
        store.check(version)
        state = store.state()
    except ResolverError as error:
        return no_go("registry", error.what, error.do or "")
    if version.stage != "production":
        return no_go(
            "registry", f"{version.name} is {version.stage}, not in production", "resolver llm promote puts it there."
        )
    return go("registry", f"{version.name} is in production, decided on the test set {short(state.test_set)}")


def data(pin: str, version: Version | None, test_set: str, dataset: Path | None) -> Check:
    """The test set that the model was promoted on is the one there is. `pin`: of the data set as it lies there now."""
    if version is None or not test_set:
        return not_checked("data", "no promotion tells on which test set it was decided", "Promote the model first.")
    if test_set not in version.metrics:
        return no_go("data", f"{version.name} was never measured on {short(test_set)}", "resolver llm validate")
    if dataset is None:
        return not_checked("data", f"measured on {short(test_set)}; the data set is not here", "Set predeploy.dataset.")
    if pin != test_set:
        return no_go(
            "data",
            f"{dataset} has the pin {short(pin)}, but the model was promoted on {short(test_set)}",
            "Bring that data set back, or validate and promote on this one (registry.gate.test_set).",
        )
    return go("data", f"promoted on {short(test_set)}, which is what {dataset} holds")


def config(folder: Path, told: Artifact) -> Check:
    """vLLM can load what lies there: architecture, labels, length, all shards, a tokenizer."""
    faults = []
    if told.weights != "merged":
        faults.append("the weights are an adapter and not merged")
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return no_go("config", "config.json can't be read", "Export the model again.")
    wanted = ARCHITECTURES[told.kind]
    if content.get("architectures") != [wanted]:
        faults.append(f"the architecture is not {wanted}")
    text = content.get("text_config") or content
    if text.get("max_position_embeddings", 0) < told.max_tokens:
        faults.append(f"it reads fewer than {told.max_tokens} tokens")
    if told.kind == "classifier" and _labels(content) != 2:
        faults.append(f"it has {_labels(content)} labels and not two")
    if (told.dtype == "nf4") != ("quantization_config" in content):
        faults.append(f"the weights are {told.dtype}, and quantization_config says otherwise")
    absent = [name for name in _shards(folder) if not (folder / name).exists()]
    if absent:
        faults.append(f"{len(absent)} files of weights are missing, among them {absent[0]}")
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model")):
        faults.append("there is no tokenizer")
    if faults:
        return no_go("config", "; ".join(faults), "Export the model again: resolver llm export")
    return go("config", f"{wanted}, {told.dtype}, up to {told.max_tokens:,} tokens")


def contract(folder: Path, told: Artifact, tokenizer: Any) -> Check:
    """The prompts that this program makes are those that the model reads, they fit, and a server is asked for them."""
    try:
        serving = json.loads((folder / artifact.SERVING).read_text(encoding="utf-8"))
        served = int(serving["arguments"][serving["arguments"].index("--max-model-len") + 1])
        asked, fingerprint = serving["request"]["path"], serving["fingerprint"]
    except FileNotFoundError:
        return no_go("contract", f"there is no {artifact.SERVING}", "Make it servable with: resolver llm export")
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return no_go("contract", f"{artifact.SERVING} can't be read", "Export the model again: resolver llm export")
    faults = []
    if told.prompt_version != prompt.VERSION:
        faults.append(f"the model reads prompts of version {told.prompt_version}, this program makes {prompt.VERSION}")
    if fingerprint != told.fingerprint:
        faults.append(f"{artifact.SERVING} is of another model")
    if asked != PATHS[told.kind]:
        faults.append(f"a {told.kind} model is asked at {PATHS[told.kind]}, not at {asked}")
    golden = pl.read_parquet(folder / artifact.GOLDEN, columns=["prompt"])["prompt"]
    strange = int((~_whole_prompts(golden)).sum())
    if strange:
        faults.append(f"{strange} of {len(golden)} golden prompts are no prompts of this program")
    longest = 2 * told.tokens_per_side + prompt.fixed_tokens(tokenizer)
    if longest > min(told.max_tokens, served):
        fit = min(told.max_tokens, served)
        faults.append(f"two sides of {told.tokens_per_side} tokens make {longest} with the question, and {fit} fit")
    if faults:
        return no_go("contract", "; ".join(faults), "Train and export with this version of the program.")
    return go("contract", f"{asked}, prompts of version {prompt.VERSION}, at most {longest:,} of {served:,} tokens")


def price(told: Artifact, mean_tokens: float | None, settings: PredeploySettings) -> Check:
    """Scoring all pairs costs no more than allowed."""
    given = {name: getattr(settings, name) for name in ("pairs", "tokens_per_second", "price_per_hour", "max_cost")}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        return not_checked("price", f"not known: {', '.join(missing)}", "Set them in the section predeploy.")
    tokens = given["pairs"] * (mean_tokens or told.max_tokens)
    hours = tokens / given["tokens_per_second"] / 3600
    cost = hours * given["price_per_hour"]
    says = (
        f"{given['pairs']:,} pairs of {'about' if mean_tokens else 'at most'} {mean_tokens or told.max_tokens:,.0f} "
        f"tokens: {hours:,.2f} h, {cost:,.2f} of {given['max_cost']:,.2f}"
    )
    if cost > given["max_cost"]:
        return no_go("price", says, "Score fewer pairs, or allow more (predeploy.max_cost).")
    return go("price", says)


def memory(folder: Path, settings: PredeploySettings) -> Check:
    """The weights leave room on the GPU."""
    size = _size(folder) / 2**30
    if settings.gpu_memory_gib is None:
        return not_checked("memory", f"the weights take {size:.2f} GiB", "Set predeploy.gpu_memory_gib.")
    room = settings.gpu_memory_gib * (1 - settings.cache_share)
    says = f"the weights take {size:.2f} GiB of {room:.1f} ({settings.cache_share:.0%} of the GPU's memory is left)"
    if size > room:
        return no_go("memory", says, "Take a larger GPU: resolver llm plan says which.")
    return go("memory", says)


def disk(folder: Path, settings: PredeploySettings) -> Check:
    """The disk that the model goes to has room for it twice: a new copy arrives before the old one leaves."""
    size = _size(folder)
    if settings.disk is None:
        return not_checked("disk", f"the weights take {size / 2**30:.2f} GiB", "Set predeploy.disk.")
    try:
        free = shutil.disk_usage(settings.disk).free
    except OSError:
        return no_go("disk", f"there is no folder {settings.disk}", "Correct predeploy.disk.")
    says = f"{settings.disk} has {free / 2**30:.1f} GiB free, two copies take {2 * size / 2**30:.2f}"
    return go("disk", says) if free >= 2 * size else no_go("disk", says, "Make room there.")


def keys(names: Sequence[str]) -> Check:
    """Environment variables are set. Only whether, never what."""
    if not names:
        return not_checked("keys", "no environment variables are named", "Set predeploy.keys, if any are needed.")
    absent = [name for name in names if not os.environ.get(name)]
    if absent:
        return no_go("keys", f"not set: {', '.join(absent)}", "Set them in the environment, not in a file.")
    return go("keys", f"set: {', '.join(names)}")


def network(hosts: Sequence[str]) -> Check:
    """Every host answers on its port."""
    if not hosts:
        return not_checked("network", "no hosts are named", "Set predeploy.hosts, if any are needed.")
    silent = [host for host in hosts if not _answers(host)]
    if silent:
        return no_go("network", f"no answer from {', '.join(silent)}", "Check the address, the network and the proxy.")
    return go("network", f"{', '.join(hosts)} answered")


def _answers(host: str) -> bool:
    name, _, port = host.rpartition(":")
    try:
        with socket.create_connection((name.strip("[]"), int(port)), timeout=CONNECT_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def _labels(content: dict[str, Any]) -> int:
    """transformers writes the names of labels, and neither where there are two."""
    return len(content["id2label"]) if "id2label" in content else int(content.get("num_labels", 2))


def _shards(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return ["model.safetensors"]
    return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _whole_prompts(texts: pl.Series) -> pl.Series:
    return (
        texts.str.starts_with(prompt.BEGIN)
        & texts.str.ends_with(prompt.END)
        & texts.str.contains(prompt.BETWEEN, literal=True)
    )
