"""The judge `llm`: a language model reads the histories of two records. It adds evidence to what is known already.

It is asked about what the judges before it leave open, the pairs first whose answer would change the persons most, as
far as the budget goes; pairs beyond it get no verdict. A pair is asked about in one order, the history with the smaller
digest first: that hangs on the two histories alone, so the same pair gets the same answer in every run and its answer
can be kept by content, and the histories of one record still come first together. Asking both orders
(llm.both_orders) takes the mean of two such answers. Nothing of a prompt or a record ever stands in a message.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import polars as pl

from llm_classifier import artifact, golden, prompt
from llm_classifier.artifact import Artifact
from llm_classifier.score import Backend, cascade, open_backend
from llm_classifier.score.cache import Cache
from llm_classifier.score.server import tokenizer
from llm_classifier.score.usage import Usage
from resolver import files, fusion
from resolver.errors import UsageError
from resolver.judges import Evidence

WINDOW = 8192  # prompts held at once


class LlmJudge:
    name = "llm"
    part: Literal["llm"] = "llm"
    role: Literal["adds"] = "adds"
    asks = None  # what is gray by decide's thresholds
    at_once = True

    def __init__(self, evidence: Evidence) -> None:
        self.evidence, self.settings = evidence, evidence.settings.llm
        if self.settings.model is None:
            raise UsageError(
                "The judge llm needs a model.",
                do="Set llm.model to a folder that resolver llm export made, or take llm out of adjudicate.judges.",
            )
        self.model: Path = self.settings.model
        self.artifact = artifact.check(self.model)
        if self.artifact.prompt_version != prompt.VERSION:
            raise UsageError(
                f"{self.model} reads prompts of version {self.artifact.prompt_version}, and this program makes "
                f"version {prompt.VERSION}.",
                do="Train the model anew.",
            )
        self.counting = _Counting(tokenizer(self.model))
        self._facts: dict[str, Any] = {}

    @property
    def fingerprint(self) -> str:
        return self.artifact.fingerprint + ("-both" if self.settings.both_orders else "")

    @property
    def line(self) -> tuple[float, float]:
        return line(self.artifact, self.evidence.settings.decide.prior_gray)

    def brings(self) -> pl.DataFrame | None:
        return None

    def facts(self) -> dict[str, Any]:
        return self._facts

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        told = self._with_histories(pairs)
        cache = Cache(
            self.settings.cache or self.evidence.settings.index_path.with_name("llm.sqlite"), self.artifact.fingerprint
        )
        try:
            prompts = self._prompts(told)
            known = dict(cache.find(prompts["key"].to_list()))
            prompts = prompts.with_columns(known=pl.col("key").is_in(list(known)))
            chosen = self._chosen(told, prompts)
            new = prompts.join(chosen, on="place", how="semi").filter(~pl.col("known"))
            # Each once, one history after the other, so that its tokens are still known where it comes first again.
            wanted = new.unique("key").sort("first", "second")
            known |= self._ask(wanted, cache)
        finally:
            cache.close()
        self._facts |= {
            "without_history": len(pairs) - len(told),
            "beyond_budget": len(told) - len(chosen),
            "from_cache": len(chosen) - new["place"].n_unique(),
            "prompts_asked": len(wanted),
        }
        return self._verdicts(told, prompts, chosen, known)

    def _with_histories(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Pairs of which both histories say something, with the two, that of the smaller digest first."""
        evidence = self.evidence
        rids = pl.concat([pairs["left_rid"], pairs["right_rid"]]).unique()
        histories = prompt.summaries(
            evidence.records,
            evidence.events,
            tokens_per_side=self.artifact.tokens_per_side,
            tokenizer=self.counting,
            rids=rids,
        ).filter(pl.col("lines") > 0)
        self.histories = histories.select(
            "rid",
            "summary",
            "tokens",
            digest=pl.Series([_digest(text) for text in histories["summary"]], dtype=pl.String),
        )
        short = self.histories.select("rid", "digest", "tokens")
        both = pairs.join(short.rename({"rid": "left_rid"}), on="left_rid", maintain_order="left").join(
            short.rename({"rid": "right_rid"}), on="right_rid", maintain_order="left", suffix="_right"
        )
        fixed = prompt.fixed_tokens(self.counting)
        return both.select(
            *("left_rid", "right_rid", "logit"),
            first=pl.min_horizontal("digest", "digest_right"),
            second=pl.max_horizontal("digest", "digest_right"),
            tokens=pl.col("tokens") + pl.col("tokens_right") + fixed,
        ).with_row_index("place")

    def _prompts(self, told: pl.DataFrame) -> pl.DataFrame:
        """What is asked about each pair: place, key, first, second, tokens."""
        columns = ["place", "first", "second", "tokens"]
        prompts = told.select(columns)
        if self.settings.both_orders:
            turned = told.select("place", first="second", second="first", tokens="tokens")
            prompts = pl.concat([prompts, turned])
        return prompts.with_columns(key=pl.col("first") + pl.col("second"))

    def _chosen(self, told: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
        """Places of the pairs that get an answer: those that cost nothing, then the best that the budget pays for."""
        settings = self.settings
        if settings.max_pairs is None and settings.max_cost is None:
            return told.select("place")
        # Prompts that pairs share are paid for once: with the first of them.
        costs = prompts.filter(~pl.col("known"))
        costs = costs.group_by("place").agg(pl.col("tokens").sum(), key=pl.col("key").min())
        free = told.join(costs, on="place", how="anti").select("place")
        standing = self.evidence.standing
        assert standing is not None
        made = self.evidence.settings.cluster
        ranked = told.with_columns(
            worth=cascade.worth(told, standing(), unscored=made.unscored_logit, against=made.against)
        )
        ranked = (
            ranked.select("place", "worth")
            .join(costs, on="place", maintain_order="left")
            .sort("worth", "place", descending=[True, False])
            .with_columns(again=~pl.col("key").is_first_distinct())
        )
        paid = pl.when("again").then(0).otherwise(1)
        ranked = ranked.with_columns(pairs=paid.cum_sum(), spent=(paid * pl.col("tokens")).cum_sum())
        if settings.max_pairs is not None:
            ranked = ranked.filter(pl.col("pairs") <= settings.max_pairs)
        if settings.max_cost is not None and settings.price_per_million_tokens is not None:
            ranked = ranked.filter(pl.col("spent") * settings.price_per_million_tokens <= settings.max_cost * 1e6)
        return pl.concat([free, ranked.select("place")])

    def _ask(self, wanted: pl.DataFrame, cache: Cache) -> dict[str, float]:
        """Answers to prompts that nobody has answered yet, kept as they come."""
        if not len(wanted):
            return {}
        texts = self.histories.select("digest", "summary").unique("digest")
        if self.settings.backend == "pods":
            return self._rented(wanted, texts, cache)
        backend = self._open()
        found: dict[str, float] = {}
        try:
            with self.evidence.progress.step("language model", len(wanted), "prompts") as step:
                for start in range(0, len(wanted), WINDOW):
                    some = wanted[start : start + WINDOW]
                    keys = some["key"].to_list()
                    for place, logit in backend.logits(_texts(some, texts)):
                        if not math.isnan(logit):
                            found[keys[place]] = logit
                            cache.keep(keys[place], logit)
                        step.advance(1)
        finally:
            backend.close()
        limit = self.settings.tflops * 1e12 if self.settings.tflops else self._limit
        told = backend.usage.facts(limit)
        if self.settings.price_per_million_tokens:
            told["cost"] = round(backend.usage.tokens * self.settings.price_per_million_tokens / 1e6, 4)
        self._facts |= told
        share = f", {told['share_of_limit']:.1%} of the limit" if limit else ""
        self.evidence.progress.say(f"language model: {backend.usage}{share}")
        return found

    def _rented(self, wanted: pl.DataFrame, texts: pl.DataFrame, cache: Cache) -> dict[str, float]:
        """Answers of a rented machine, all of them; PendingError while they are not there."""
        from llm_classifier.pods import asking

        evidence = self.evidence
        told = asking.answers(_texts(wanted, texts), self.model, evidence.settings, evidence.progress)
        self._facts |= told.facts
        found = {
            key: float(logit) for key, logit in zip(wanted["key"], told.logits, strict=True) if not math.isnan(logit)
        }
        for key, logit in found.items():
            cache.keep(key, logit)
        return found

    def _open(self) -> Backend:
        settings = self.settings
        backend = open_backend(
            self.model,
            backend=settings.backend,
            endpoint=settings.endpoint,
            batch_tokens=settings.batch_tokens,
            in_flight=settings.in_flight,
            timeout=settings.timeout,
            give_up_after=settings.give_up_after,
            python=settings.vllm_python,
        )
        try:
            measure = getattr(backend, "limit", None)
            self._limit = measure() if measure is not None else None
            if settings.backend != "transformers":
                # Before anything is paid for: does it answer as the model does?
                golden.compare(backend, self.model).check(settings.endpoint or "The vLLM engine")
                backend.usage = Usage(backend.usage.parameters)
        except BaseException:
            backend.close()
            raise
        return backend

    def _verdicts(
        self, told: pl.DataFrame, prompts: pl.DataFrame, chosen: pl.DataFrame, known: dict[str, float]
    ) -> pl.DataFrame:
        answers = pl.DataFrame({"key": list(known), "answer": list(known.values())}, schema_overrides=_ANSWERS)
        each = prompts.join(chosen, on="place", how="semi").join(answers, on="key", how="left")
        # Where one of two orders failed, the other alone would not be the same thing.
        each = each.group_by("place").agg(
            logit=pl.when(pl.col("answer").is_null().any()).then(None).otherwise(pl.col("answer").mean())
        )
        return (
            told.drop("logit")
            .join(each, on="place", maintain_order="left")
            .select(
                "left_rid",
                "right_rid",
                "logit",
                status=pl.when(pl.col("logit").is_null()).then(pl.lit("failed")).otherwise(pl.lit("ok")),
            )
        )


class _Counting:
    """The tokenizer as prompts are fitted with it."""

    def __init__(self, pieces: Any) -> None:
        self.pieces = pieces

    def __call__(self, texts: list[str], *, add_special_tokens: bool = True, verbose: bool = True) -> dict[str, Any]:
        encoded = self.pieces.encode_batch(texts, add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in encoded]}


_ANSWERS = {"key": pl.String, "answer": pl.Float64}


def line(told: Artifact, prior_gray: float) -> tuple[float, float]:
    """What makes evidence of a raw logit.

    Calibrated, it is log-odds in the mix of the gray zone that it was calibrated on; less that mix's prior it says what
    the histories add to a pair that is gray. Never calibrated, the prior of the training set is all that can be taken
    off.
    """
    if not told.calibration:
        return 1.0, -fusion.logit(told.prior_train)
    prior = told.calibration.get("prior", prior_gray)
    return 1 / told.calibration["temperature"], told.calibration["bias"] - fusion.logit(prior)


def _digest(text: str) -> str:
    return files.digest_bytes(text.encode())[:32]


def _texts(some: pl.DataFrame, texts: pl.DataFrame) -> list[str]:
    """The prompts, in order."""
    told = some.join(texts.rename({"digest": "first"}), on="first", maintain_order="left").join(
        texts.rename({"digest": "second", "summary": "other"}), on="second", maintain_order="left"
    )
    return told.select(prompt.pairs(pl.col("summary"), pl.col("other")).alias("prompt"))["prompt"].to_list()
