"""How likely a causal model finds a string: the sum of its tokens' log-probabilities.

Only the positions that count pass the language head, whose vocabulary would else fill the memory. Knows nothing of what
the strings are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llm_classifier.needs import need
from llm_classifier.score.loading import Loaded

BATCH = 16


def of(loaded: Loaded, beginning: str, strings: Sequence[str]) -> npt.NDArray[np.float64]:
    """Log-probability of each string right after `beginning`."""
    torch = need("torch")
    first = loaded.tokenizer(beginning)["input_ids"]
    rest = loaded.tokenizer(list(strings), add_special_tokens=False)["input_ids"]
    model = loaded.model.get_base_model() if hasattr(loaded.model, "get_base_model") else loaded.model
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    found: list[float] = []
    for start in range(0, len(rest), BATCH):
        batch = rest[start : start + BATCH]
        longest = max(len(one) for one in batch)
        ids = torch.tensor([[*first, *one, *([0] * (longest - len(one)))] for one in batch])
        counts = torch.arange(longest)[None, :] < torch.tensor([len(one) for one in batch])[:, None]
        mask = torch.cat([torch.ones(len(batch), len(first), dtype=torch.bool), counts], dim=1).long()
        with torch.inference_mode():
            hidden = model.model(
                input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device), use_cache=False
            ).last_hidden_state
            logits = model.get_output_embeddings()(hidden[:, len(first) - 1 : -1]).float()
            if cap:
                logits = cap * torch.tanh(logits / cap)
            next_ = ids[:, len(first) :].to(loaded.device)
            each = torch.log_softmax(logits, dim=-1).gather(-1, next_[..., None])[..., 0]
            found += (each * counts.to(loaded.device)).sum(dim=1).tolist()
    return np.array(found, dtype=np.float64)
