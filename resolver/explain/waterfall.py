"""A pair's log-odds as a waterfall: from the prior to the sum, judge by judge and field by field.

For a pair that the run decided on, the stored verdicts are taken apart, and the sum is the stored one. For any other
pair the same models are asked now. The groups of lines are the parts of `decisions`. Knows nothing of how it is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from resolver import decide, fusion, judges
from resolver.errors import RunError
from resolver.explain import histories, words
from resolver.explain.clustering import Outcome, outcome
from resolver.explain.opened import Opened, Row
from resolver.fusion import PARTS, Voice, logit
from resolver.judges import Evidence
from resolver.link import closure
from resolver.progress import Progress

EXACT = 1e-6  # log-odds that the shown sum may differ from the stored one

OTHER_COUNTS = "values have become more or less common since it was judged"


@dataclass(frozen=True)
class Part:
    """What one feature of a pair adds to its log-odds."""

    name: str
    says: str
    value: float | None
    logit: float


@dataclass(frozen=True)
class Line:
    """One piece of evidence: all features that are about the same thing, and the values on both sides."""

    about: str
    logit: float
    left: str = ""
    right: str = ""
    note: str = ""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Group:
    name: str  # one of fusion.PARTS
    lines: tuple[Line, ...]  # the one that moves most first

    @property
    def logit(self) -> float:
        return math.fsum(line.logit for line in self.lines)


@dataclass(frozen=True)
class Explanation:
    left: Row
    right: Row
    prior: float
    groups: tuple[Group, ...]
    decided: bool  # whether the run holds a decision on the pair; else this is what it would have been
    stored: float | None  # its log-odds there
    probability: float
    tier: str
    proposed: str  # how the pair came up, or why it did not, in a sentence
    reason: str | None
    fingerprint: str | None
    notes: tuple[str, ...]
    outcome: Outcome

    @property
    def logit(self) -> float:
        """The sum of all that is shown."""
        return self.prior + math.fsum(group.logit for group in self.groups)


def pair(run: Opened, left: int, right: int) -> Explanation:
    """Why these two records are, or are not, one person."""
    if left == right:
        raise RunError("That is one record, given twice.", do="Give two records.")
    low, high = min(left, right), max(left, right)
    found = run.decisions([low, high])
    decision = found[0] if found else None
    sides = run.records([low, high])
    walk = _Walk(run, low, high, sides, bool(decision))
    walk.go()
    groups = tuple(
        Group(part, tuple(sorted(walk.lines[part], key=lambda line: (-abs(line.logit), line.about))))
        for part in PARTS
        if walk.lines[part]
    )
    notes = list(walk.notes)
    said = run.said(str(sides[low]["record_id"]), str(sides[high]["record_id"]))
    human = walk.total["human"]
    if said and (human == 0.0 or (human > 0) != (said == "link")):
        counts = "one person" if said == "link" else "two persons"
        notes.append(f"Since this run a person said that they are {counts}: the next run counts it.")
    standing = walk.prior + sum(walk.total.values())
    if decision is not None and abs(standing - float(decision["logit"])) > EXACT:
        raise RunError(
            f"The run in {run.folder.path} was made with other settings than the config has now.",
            do="Run the config again, then explain.",
        )
    probability = 1 / (1 + math.exp(-max(min(standing, 700.0), -700.0)))
    result = Explanation(
        left=sides[low],
        right=sides[high],
        prior=walk.prior,
        groups=groups,
        decided=decision is not None,
        stored=None if decision is None else float(decision["logit"]),
        probability=probability if decision is None else float(decision["probability"]),
        tier=_tier(run, probability) if decision is None else str(decision["tier"]),
        proposed=walk.proposed,
        reason=None if decision is None else str(decision["reason"]),
        fingerprint=None if decision is None else str(decision["fingerprint"]),
        notes=tuple(notes),
        outcome=outcome(run, sides, None if decision is None else float(decision["logit"])),
    )
    if left == low:
        return result
    turned = tuple(
        Group(group.name, tuple(replace(line, left=line.right, right=line.left) for line in group.lines))
        for group in groups
    )
    return replace(result, left=result.right, right=result.left, groups=turned, outcome=result.outcome.turned())


class _Walk:
    """Goes the way of fusion.parts_sql for one pair, and keeps what each step is made of."""

    def __init__(self, run: Opened, low: int, high: int, sides: dict[int, Row], decided: bool) -> None:
        self.run, self.low, self.high, self.sides, self.decided = run, low, high, sides, decided
        self.lines: dict[str, list[Line]] = {part: [] for part in PARTS}
        self.total = dict.fromkeys(PARTS, 0.0)
        self.prior = float(run.link_model["prior_logit"])
        self.notes: list[str] = []
        candidate = run.rows(
            "SELECT rule, logit FROM pairs WHERE left_rid = ? AND right_rid = ?", [self.low, self.high]
        )
        self.candidate = candidate[0] if candidate else None
        self.proposed = ""
        self.splink_score: float | None = None
        self.asked_at = 0.0  # where the pair stands for the next judge, as adjudicate counts

    def go(self) -> None:
        settings = self.run.settings
        formula = settings.decide.method == "formula"
        self.weight = settings.decide.w_splink if formula else 1.0
        self._begin()
        judged = {
            str(row["judge"]): row
            for row in self.run.rows(
                "SELECT judge, fingerprint, logit FROM verdicts WHERE left_rid = ? AND right_rid = ? AND status = 'ok'",
                [self.low, self.high],
            )
        }
        for voice in decide.voices(settings, fusion.lines(self.run.file("judges.json"))):
            if self.decided:
                row = judged.get(voice.name)
                if row is not None:
                    self._step(voice, float(row["logit"]), str(row["fingerprint"]))
            else:
                self._ask(voice)
        if self.splink_stands and (self.candidate or not self.decided):
            self._splink_lines()

    def _begin(self) -> None:
        """Where blocking and Splink leave the pair."""
        if self.candidate is not None:
            splink = self.splink_score = float(self.candidate["logit"])
            self.proposed = f"Blocking proposed it: {_rule(self.run, int(self.candidate['rule']))}."
        elif self.decided:
            splink = self.prior / self.weight
            self.proposed = "Blocking did not propose it: it was looked at because a person spoke of it."
        else:
            splink = self.splink_score = self._splink().logit
            floor = float(self.run.link_model["floor_logit"])
            self.proposed = (
                f"Not among the candidates: Splink gives it {words.signed(splink)}, below the floor of"
                f" {words.signed(floor)}, whether a blocking rule proposed it or not."
                if splink < floor
                else "No blocking rule proposed it. This is what it would have scored."
            )
        self.total["demographics"] = self.weight * splink - self.prior
        self.standing = self.asked_at = splink
        self.splink_stands = True

    def _splink(self) -> Any:
        from resolver import link

        run = self.run
        return link.score(run.file("records"), run.file("link_model.json"), [(self.low, self.high)])[0]

    def _splink_lines(self) -> None:
        score = self._splink()
        lines = []
        for one in score.contributions:
            if one.logit == 0.0:
                continue
            label, fields = words.about(one.comparison) or (one.comparison, ())
            part = Part(one.comparison, one.level, None, self.weight * (one.logit - one.frequency))
            rarity = Part(f"{one.comparison}_frequency", "how rare the value is", None, self.weight * one.frequency)
            lines.append(self._line(label, fields, [part, *([rarity] if one.frequency else [])], one.level))
        if self.weight != 1.0:
            lines.append(Line("weight on the prior", (self.weight - 1.0) * self.prior))
        self._add(lines, "demographics", self.weight * self.standing, self.weight * score.logit)
        self.lines["demographics"] = [*lines, *self.lines["demographics"]]

    def _ask(self, voice: Voice) -> None:
        """Ask a judge about a pair that the run did not decide on."""
        judge = judges.find(voice.name)
        if not hasattr(judge, "take_apart"):
            if voice.part != "human":
                self.notes.append(f"The judge {voice.name} was not asked about it.")
            return
        decides = self.run.settings.decide
        asks = judge(self._evidence).asks
        bounds = asks or (logit(decides.non_match_probability), logit(decides.match_probability))
        if not bounds[0] < self.asked_at < bounds[1]:
            self.notes.append(
                f"The judge {voice.name} would not have been asked: it is only between"
                f" {words.signed(bounds[0])} and {words.signed(bounds[1])}."
            )
            return
        self._step(voice, None, None)

    def _step(self, voice: Voice, stored: float | None, fingerprint: str | None) -> None:
        """Count one judge's verdict: the stored one, or its own of today."""
        apart = self._take_apart(voice, fingerprint)
        if apart is None and stored is None:
            return
        now = None if apart is None else math.fsum(part.logit for part in apart)
        verdict = stored if stored is not None else now
        assert verdict is not None
        before = self.prior + sum(self.total.values())
        added = verdict - before if voice.role == "revises" else voice.weight * (verdict - voice.offset)
        self.asked_at = verdict if voice.role == "revises" else self.asked_at + added
        if apart is None or now is None or voice.role != "revises":
            self.lines[voice.part].append(Line(_says(voice), added))
        elif voice.part == "demographics":
            # It takes the place of what stood there before.
            self.splink_stands = False
            own = self._lines(apart[:-1])
            elsewhere = before - self.total[voice.part]
            own.append(Line("every candidate pair", apart[-1].logit - elsewhere, note="before any field is read"))
            self._add(own, voice.part, verdict, now)
            self.lines[voice.part] = own
        else:
            self._beside(voice, apart, before, verdict, now)
        self.total[voice.part] += added

    def _beside(self, voice: Voice, apart: Sequence[Part], before: float, verdict: float, now: float) -> None:
        """A judge that reads its own evidence together with what the ones before it read."""
        from resolver.judges.features import demographic

        known = {feature.name for feature in demographic.FEATURES}
        own = self._lines([part for part in apart[:-1] if part.name not in known])
        again = [part for part in apart if part.name in known or part is apart[-1]]
        own.append(
            Line(
                "demographics weighed anew",
                math.fsum(part.logit for part in again) - before,
                note="together with the histories",
                parts=tuple(again),
            )
        )
        self._add(own, voice.part, verdict, now)
        self.lines[voice.part] += own

    def _add(self, lines: list[Line], part: str, stored: float, now: float) -> None:
        """What was judged in an earlier run was judged by the counts of that time."""
        if abs(stored - now) > EXACT:
            lines.append(Line(OTHER_COUNTS, stored - now))

    def _take_apart(self, voice: Voice, fingerprint: str | None) -> list[Part] | None:
        """Features and what each adds, and last what is there before any; None where the judge can't be taken apart."""
        import polars as pl

        kind: Any = judges.find(voice.name)
        if not hasattr(kind, "take_apart"):
            return None
        judge = kind(self._evidence)
        pairs = pl.DataFrame({"left_rid": [self.low], "right_rid": [self.high]})
        if fingerprint is not None and judge.fingerprint != fingerprint:
            return None
        if not judge.known(pairs).all():
            return None
        apart = judge.take_apart(pairs)
        if apart.settled[0]:
            self.notes.append(
                f"The judge {voice.name} settled it with a quick look, as it does with most candidates: that was"
                " enough to rule a match out."
            )
        parts = [
            Part(feature.name, feature.says, None if math.isnan(value) else float(value), float(log_odds))
            for feature, value, log_odds in zip(apart.features, apart.values[0], apart.log_odds[0, :-1], strict=True)
            if log_odds or not math.isnan(value)
        ]
        return [*parts, Part("start", "before any field is read", None, float(apart.log_odds[0, -1]))]

    @cached_property
    def _evidence(self) -> Evidence:
        import polars as pl

        run = self.run
        # Splink's score of this pair alone, also where the run holds none.
        scores = run.scratch / "pairs.parquet"
        score = [] if self.splink_score is None else [(self.low, self.high, self.splink_score)]
        layout = {"left_rid": pl.Int32, "right_rid": pl.Int32, "logit": pl.Float64}
        pl.DataFrame(score, schema=layout, orient="row").write_parquet(scores)
        return Evidence(
            run.settings,
            run.file("records"),
            run.file("events"),
            run.file("learned.json"),
            run.file("clinical_population.parquet"),
            run.scratch,
            Progress(),
            counts=run.file("value_counts.parquet"),
            only=(self.low, self.high),
            pairs=scores,
        )

    def _lines(self, parts: Iterable[Part]) -> list[Line]:
        """One line for all features about the same thing."""
        grouped: dict[str, tuple[tuple[str, ...], list[Part]]] = {}
        for part in parts:
            label, fields = words.about(part.name) or (part.says, ())
            grouped.setdefault(label, (fields, []))[1].append(part)
        return [self._line(label, fields, own, None) for label, (fields, own) in grouped.items()]

    def _line(self, label: str, fields: tuple[str, ...], parts: Sequence[Part], note: str | None) -> Line:
        left, right = (words.values(self.sides[rid], fields) for rid in (self.low, self.high))
        total = math.fsum(part.logit for part in parts)
        ordered = tuple(sorted(parts, key=lambda part: (-abs(part.logit), part.name)))
        if not fields:
            if label in histories.LABELS:
                left, right, note = self._histories[label]
            elif note is None:
                note = _strongest(ordered)
        elif note is None:
            note = _compared([(self.sides[self.low][name], self.sides[self.high][name]) for name in fields], ordered)
        return Line(label, total, left, right, note or "", ordered)

    @cached_property
    def _histories(self) -> dict[str, tuple[str, str, str]]:
        return histories.side_by_side(self.run, self.low, self.high)


def _compared(values: Sequence[tuple[Any, Any]], parts: Sequence[Part]) -> str:
    """In words, how the fields of a line compare."""
    common = next((part.value for part in parts if part.name.endswith("_common") and part.value is not None), None)
    if len(values) == 1:
        ((left, right),) = values
        if left is None or right is None:
            return "not known on either side" if left is right else "not known on one side"
        if left == right:
            return "same" if common is None else f"same; {math.exp(common):,.0f} records have it"
    return _strongest(parts)


def _strongest(parts: Sequence[Part]) -> str:
    spoken = next((part for part in parts if part.value is not None), None)
    return "" if spoken is None or spoken.value is None else f"{spoken.says}: {words.number(spoken.value)}"


def _says(voice: Voice) -> str:
    if voice.part == "human":
        return "what a person said"
    return "the language model" if voice.part == "llm" else f"the judge {voice.name}"


def _rule(run: Opened, number: int) -> str:
    if number == 0:
        return "one record listed many times"
    if number == closure.NUMBER:
        return "both are likely one person with a third record"
    named = {int(rule["number"]): str(rule["name"]) for rule in run.link_model["rules"]}
    return f"same {named[number]}" if number in named else f"rule {number}"


def _tier(run: Opened, probability: float) -> str:
    facts = run.facts["decide"]
    if probability >= facts["match_probability"]:
        return "match"
    return "non-match" if probability < facts["non_match_probability"] else "gray"
