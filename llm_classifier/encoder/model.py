"""What a trained encoder is on disk: encoder.safetensors, encoder.json (the card), training.json (how it was made).

The card is read without torch. Knows nothing of training or judging.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_classifier.encoder.combining import Line
from llm_classifier.encoder.tokens import KINDS, VERSION
from llm_classifier.needs import need
from resolver import files
from resolver.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from llm_classifier.encoder.network import Encoder

WEIGHTS, CARD, TRAINING = "encoder.safetensors", "encoder.json", "training.json"


@dataclass(frozen=True)
class Card:
    shape: dict[str, Any]
    line: Line  # from what stood before and the score to log-odds
    after: tuple[str, ...]  # judges that the line was fitted after
    asks: tuple[float, float]  # log-odds of the pairs that it was fitted to
    trained_on: tuple[str, ...]  # names of the runs
    tokens: str = VERSION
    kinds: tuple[str, ...] = KINDS
    weights_digest: str = ""

    @property
    def fingerprint(self) -> str:
        """Changes when a logit could."""
        told = dataclasses.asdict(self)
        del told["trained_on"]
        return files.digest_of(told)[:16]


def save(folder: Path, network: Encoder, card: Card) -> Card:
    safetensors = need("safetensors.torch")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TRAINING).unlink(missing_ok=True)  # that of another one
    with files.whole(folder / WEIGHTS) as scratch:
        safetensors.save_file({name: one.contiguous() for name, one in network.state_dict().items()}, scratch)
    card = dataclasses.replace(card, weights_digest=files.digest(folder / WEIGHTS))
    files.write_json(folder / CARD, dataclasses.asdict(card))
    return card


def read(folder: Path) -> Card:
    """The card, if this program can use the encoder."""
    path = folder / CARD
    missing = UsageError(
        f"{folder} holds no encoder ({CARD} is missing).", do="Make one with: resolver llm encoder train CONFIG"
    )
    content = files.read_json(path, missing=missing, do="Take the encoder from where it was made again.")
    try:
        lists = {name: tuple(content[name]) for name in ("after", "asks", "trained_on", "kinds")}
        card = Card(**content | lists | {"line": Line(**content["line"])})
    except (AttributeError, KeyError, TypeError):
        raise DamagedError(f"{path} was written by another version of this program.", do="Train it again.") from None
    if (card.tokens, card.kinds) != (VERSION, KINDS):
        raise DamagedError(f"The encoder in {folder} reads other tokens than this program makes.", do="Train it again.")
    return card


def load(folder: Path) -> tuple[Card, Encoder]:
    """The card and the network, ready to answer, if the weights are those that the card was written for."""
    card = read(folder)
    safetensors = need("safetensors.torch")
    from llm_classifier.encoder.network import Encoder, Shape

    path = folder / WEIGHTS
    if not path.exists() or files.digest(path) != card.weights_digest:
        raise DamagedError(
            f"{path} does not hold the weights that {CARD} was written for.",
            do="Copy the whole folder again from where the encoder was made.",
        )
    network = Encoder(Shape(**card.shape))
    network.load_state_dict(safetensors.load_file(path))
    return card, network.eval()
