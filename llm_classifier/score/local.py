"""The backend `transformers`: the model in this process, on a GPU where there is one.

Batches of prompts of like length, as many as fit a number of tokens, so that little is padding. Knows nothing of pairs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from llm_classifier.needs import need
from llm_classifier.score.loading import Dtype, load
from llm_classifier.score.usage import Usage, measured_limit

WINDOW = 8192  # prompts held as tokens at once


class TransformersBackend:
    def __init__(
        self, folder: Path, *, batch_tokens: int = 16_384, dtype: Dtype | None = None, device: str | None = None
    ) -> None:
        self._loaded = load(folder, dtype=dtype, device=device)
        self._batch_tokens = batch_tokens
        self.usage = Usage(self._loaded.parameters)

    def limit(self) -> float:
        """Operations a second that this machine can do."""
        return measured_limit(self._loaded.device, str(self._loaded.model.dtype).removeprefix("torch."))

    def logits(self, prompts: Sequence[str]) -> Iterator[tuple[int, float]]:
        for start in range(0, len(prompts), WINDOW):
            tokens = self._loaded.tokenizer(list(prompts[start : start + WINDOW]))["input_ids"]
            began = time.monotonic()
            fits = [place for place, one in enumerate(tokens) if len(one) <= self._loaded.artifact.max_tokens]
            self.usage.refused += len(tokens) - len(fits)
            self.usage.prompts += len(fits)
            self.usage.tokens += sum(len(tokens[place]) for place in fits)
            yield from ((start + place, math.nan) for place in sorted(set(range(len(tokens))) - set(fits)))
            # The longest first: where memory runs out, it does so at once and not after hours.
            fits.sort(key=lambda place: (-len(tokens[place]), place))
            for batch in self._batches(fits, [len(one) for one in tokens]):
                answers = self._answer([tokens[place] for place in batch])
                self.usage.seconds += time.monotonic() - began
                yield from ((start + place, logit) for place, logit in zip(batch, answers, strict=True))
                began = time.monotonic()

    def _batches(self, places: list[int], lengths: list[int]) -> Iterator[list[int]]:
        """Runs of places, longest first, none of more tokens than asked, padding counted."""
        begin = 0
        while begin < len(places):
            many = max(1, self._batch_tokens // lengths[places[begin]])
            yield places[begin : begin + many]
            begin += many

    def _answer(self, batch: list[list[int]]) -> list[float]:
        torch = need("torch")
        try:
            ids = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(one) for one in batch], batch_first=True, padding_value=self._padding()
            )
            lengths = torch.tensor([len(one) for one in batch])
            mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
            with torch.inference_mode():
                logits = self._loaded.answer(ids.to(self._loaded.device), mask.to(self._loaded.device))
            return [float(one) for one in logits.cpu()]
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        self._batch_tokens = max(self._batch_tokens // 2, 1)
        half = len(batch) // 2
        return self._answer(batch[:half]) + self._answer(batch[half:])

    def _padding(self) -> int:
        padding = self._loaded.tokenizer.pad_token_id
        return 0 if padding is None else int(padding)

    def close(self) -> None:
        torch = need("torch")
        del self._loaded
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
