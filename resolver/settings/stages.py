"""One section per stage: what a person may choose about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from resolver.errors import instead
from resolver.settings.base import Section
from resolver.tables import PERSON_FIELDS


class IngestSettings(Section):
    input: Literal["all", "changes"] = "all"
    """all: the sources list every record there is. changes: only new and changed ones; the others stay as published."""

    max_rejected: float = Field(default=0.05, ge=0, le=1)
    """Share of rows that may be rejected before the run stops."""

    placeholders: tuple[str, ...] = ()
    """Further values that mean "unknown" in any field, such as NOT GIVEN."""


class LinkSettings(Section):
    match_probability: float = Field(default=0.99, gt=0, lt=1)
    """From here on, Splink alone calls a pair a match."""

    non_match_probability: float = Field(default=0.01, gt=0, lt=1)
    """Below this, Splink alone calls a pair a non-match."""

    model: Path | None = None
    """A trained link model to use as it is. Default: train one, or take the index's."""

    max_candidates_per_record: float = Field(default=25, gt=0)
    """Candidate pairs per record, on average, that judges see. Blocking proposes up to four times as many; those that
    Splink finds likeliest are kept. Pairs that are both likely one person with a third record come on top: a few."""

    max_block: int = Field(default=2000, gt=1)
    """A value that more records than this share is too common to block on (a hub); it is named and left out."""

    floor_logit: float = -15.0
    """Candidates to which Splink gives lower log-odds than this are not kept, unless both are likely one person with a
    third record; judges see all others."""


class LearnSettings(Section):
    way: Literal["auto", "shipped", "unlabelled", "none"] = "auto"
    """shipped: the embedded judges use a trained model. unlabelled: they learn from this run's pairs, without labels.
    auto: the trained model where the input is like what it was trained on, else without labels. none: Splink's score
    stands."""

    model: Path | None = None
    """A model made by `resolver train`. Default: the one that comes with the package."""

    max_pairs: int = Field(default=300_000, ge=1_000)
    """At most so many pairs are learned from; of more, a sample that keeps likely persons whole."""


class AdjudicateSettings(Section):
    judges: tuple[str, ...] = ("demographic", "clinical", "human")
    """Judges in the order in which they are asked; each sees what the ones before it left open."""


class LlmJudgeSettings(Section):
    model: Path | None = None
    """The judge llm: a folder that `resolver llm export` made, or a trained one (transformers only)."""

    backend: Literal["transformers", "vllm", "vllm-server", "pods"] = "transformers"
    """transformers: in this process. vllm: an offline engine, in an environment of its own. vllm-server: over HTTP.
    pods: a worker apart from the run (section pods), which `resolver infer` launches."""

    endpoint: str | None = None
    """vllm-server: its address, http://HOST:PORT. Its key, if it wants one, is in the environment: RESOLVER_LLM_KEY."""

    max_pairs: int | None = Field(default=None, ge=0)
    """Ask about so many pairs at most, those first whose answer would change the persons most; the others get no
    verdict. What was answered before costs nothing and does not count. null: all that the judges before leave open."""

    max_cost: float | None = Field(default=None, ge=0)
    """The same as an amount of money; needs price_per_million_tokens."""

    price_per_million_tokens: float | None = Field(default=None, gt=0)
    """What a million tokens of prompts cost: of a rented machine, its price by the hour over its tokens by the hour."""

    both_orders: bool = False
    """Ask in both orders of the two records and take the mean: twice the price. Else in one order, which hangs on the
    two histories alone."""

    cache: Path | None = None
    """Where answers are kept, so that none is paid for twice. Default: llm.sqlite beside the index."""

    batch_tokens: int = Field(default=16_384, ge=1)
    """transformers: tokens computed at once."""

    in_flight: int = Field(default=64, ge=1)
    """vllm-server: requests under way at once, at most; fewer where the server says that it is too much."""

    timeout: float = Field(default=120, gt=0)
    """vllm-server: seconds after which a request without an answer is sent again."""

    give_up_after: float = Field(default=600, gt=0)
    """vllm-server: seconds without any answer after which the run stops with exit code 75. It goes on from there."""

    vllm_python: Path | None = None
    """vllm: the interpreter of the environment with vLLM. Default: .venv-vllm/bin/python, which `make vllm` makes."""

    tflops: float | None = Field(default=None, gt=0)
    """What the serving machine can do, in 10^12 operations a second: to say what share of it is used. transformers:
    measured."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.backend == "vllm-server" and self.endpoint is None:
            raise ValueError("the backend vllm-server needs endpoint")
        if self.max_cost is not None and self.price_per_million_tokens is None:
            raise ValueError("max_cost needs price_per_million_tokens")
        return self


class EncoderSettings(Section):
    model: Path | None = None
    """The judge encoder: a folder that `resolver llm encoder train` made."""


class DecideSettings(Section):
    method: Literal["sum", "formula"] = "sum"
    """sum: the log-odds of the judges add up. formula: the published formula with fixed weights, for comparison:
    w_splink * logit + w_llm * (llm_logit + logit(prior_gray) - logit(prior_train))."""

    match_probability: float = Field(default=0.99, gt=0, lt=1)
    """From here on a pair is a match."""

    non_match_probability: float = Field(default=0.01, gt=0, lt=1)
    """Below this a pair is a non-match; between the two it is gray."""

    target_precision: float | None = Field(default=None, gt=0, lt=1)
    """Choose match_probability so that this share of the matches is expected to be right."""

    target_recall: float | None = Field(default=None, gt=0, lt=1)
    """Choose non_match_probability so that at most the rest of the true pairs is expected to be lost there."""

    w_splink: float = Field(default=1.0, gt=0)
    """formula: weight of Splink's log-odds."""

    w_llm: float = Field(default=1.0, gt=0)
    """Weight of the language model's log-odds."""

    prior_gray: float = Field(default=0.025, gt=0, lt=1)
    """formula: share of true matches in the gray zone."""

    prior_train: float = Field(default=0.5, gt=0, lt=1)
    """Share of true matches in the data that the language model was trained on. sum: only where the model itself does
    not say; resolver's own do."""


class ClusterSettings(Section):
    unscored_logit: float = Field(default=-1.5, le=0)
    """Log-odds of a pair that blocking never proposed: mild evidence against."""

    against: float = Field(default=0.7, gt=0, le=1)
    """How much of its log-odds a pair that speaks against counts where pairs are added up. Below 1, because an error in
    one record is held against it by every record of its person."""

    same_source: Annotated[float, Field(le=0)] | Literal["fit"] = "fit"
    """Log-odds that two records of one source add, 0 or less. fit: estimated from the data."""


class GoldenRule(Section):
    method: Literal["posterior", "most_frequent", "most_recent", "longest", "trusted_source"] = "posterior"
    """posterior: the likeliest value, all evidence weighed. most_frequent: what most records say. most_recent: what the
    record touched last says. longest: the longest value. trusted_source: the first of trusted_sources that has one."""


class GoldenSettings(Section):
    fields: dict[str, GoldenRule] = Field(default_factory=dict)
    """Rule per field of a person. Default: posterior. Unit, town, state and ZIP vote among the records of the street
    chosen; ssn_last4 follows ssn, and street_number the street."""

    trusted_sources: tuple[str, ...] = ()
    """Names of sources, the most trusted first, for the method trusted_source."""

    source_trust: dict[str, float] = Field(default_factory=dict)
    """Source -> share of its values that are right. Default: fitted from how its records agree with others."""

    min_confidence: float = Field(default=0.0, ge=0, le=1)
    """A field less sure than this stays empty."""

    max_values: int = Field(default=8, ge=2)
    """Distinct values of a field weighed per person: those that most records carry."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        derived = ("ssn_last4", "street_number")
        ruled = [name for name, _, _ in PERSON_FIELDS if name not in derived]
        for name in self.fields:
            if name not in ruled:
                raise ValueError(f"fields.{name}: there is no rule for it; {instead(name, ruled)}")
        if any(rule.method == "trusted_source" for rule in self.fields.values()) and not self.trusted_sources:
            raise ValueError("the method trusted_source needs trusted_sources")
        if not all(0 < trust < 1 for trust in self.source_trust.values()):
            raise ValueError("source_trust must lie between 0 and 1")
        return self


class IndexSettings(Section):
    path: Path | None = None
    """The Master Patient Index. Default: mpi.duckdb in the run folder."""


class EvaluateSettings(Section):
    truth: Path | None = None
    """Parquet or CSV with record_id (the source's own id, or <source>:<id>) and person_id. Read by evaluate only."""

    persons: Path | None = None
    """The clean persons as Synthea's patients table (CSV or Parquet; Id is the truth's person_id). With it, golden
    fields are measured. Read by evaluate only."""

    bootstrap: int = Field(default=200, ge=0)
    """Bootstrap rounds for intervals, over persons. 0: no intervals."""

    min_precision: float | None = Field(default=None, ge=0, le=1)
    """Quality gate: pair precision after clustering must reach this, or the command ends with exit code 3."""

    min_recall: float | None = Field(default=None, ge=0, le=1)
    """Quality gate: pair recall after clustering."""

    min_f1: float | None = Field(default=None, ge=0, le=1)
    """Quality gate: pair F1 after clustering."""


class ReportSettings(Section):
    title: str = "Patient matching run"
    """Heading of the report."""
