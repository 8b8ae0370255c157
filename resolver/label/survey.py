"""The questions that a finished run leaves, drawn so that the answers speak for all pairs.

Each question is a pair (resolver/evaluate/standing.py). Questions of about equal log-odds and weight form a stratum,
and within it they come in an order drawn at random, heavier ones sooner in proportion to their weight: so whatever was
asked of a stratum is a random sample of its pairs. Which stratum comes next is where an answer narrows the estimate
most, and where it is likeliest to change persons. A pair that follows from what people said is not asked, and counts as
answered when its turn comes. Shows and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from resolver.errors import RunError
from resolver.evaluate import standing
from resolver.explain.opened import Opened
from resolver.label import posterior
from resolver.label.posterior import Floats, Ints, Posterior, Strata
from resolver.mpi import labels
from resolver.mpi.labels import Asked, Heard

Pair = tuple[int, int]
# Edges of the strata. Links surer than the last are alike, whatever more they promise.
TOGETHER = (2.0, 4.0, 6.0, 9.0, 14.0)
APART = (-4.5, -3.0, -1.5, 0.0)
WEIGHTS = (2.0, 3.0, 5.0, 9.0)
SPREAD = "CAST(md5_number_lower(concat_ws(' ', left_rid, right_rid, {seed})) AS DOUBLE) / 18446744073709551616.0"
SURPRISING = 4.0  # log-odds against an answer from which on it is asked for again: 1 in 55
LEAST = 20  # answers before a tight interval is believed: until then it is mostly what the run thinks of itself


class Survey:
    def __init__(self, run: Opened, seed: int | None = None) -> None:
        """`seed` of what is drawn. Default: the run's."""
        self.run = run
        self.index = run.settings.index_path
        self.seed = run.settings.run.seed if seed is None else seed
        self.run_id = _published(run)
        standing.lay(run.con, "decisions", "clusters")
        found = run.con.execute(
            f"SELECT left_rid, right_rid, together, logit, weight, {SPREAD.format(seed=self.seed)} AS spread"
            " FROM standing ORDER BY left_rid, right_rid"
        ).fetchnumpy()
        together, logit, weight = (np.asarray(found[name]) for name in ("together", "logit", "weight"))
        weight = weight.astype(float)
        kind, stratum = np.unique(_kind(together, logit, weight), return_inverse=True)
        turn = -np.log(np.asarray(found["spread"]) + 1e-300) / weight
        order = np.lexsort((found["right_rid"], found["left_rid"], turn, stratum))
        self.left, self.right = (np.asarray(found[name], dtype=np.int64)[order] for name in ("left_rid", "right_rid"))
        self.together, self.logit, self.weight = together[order], logit[order], weight[order]
        self.stratum = stratum[order]
        self.kinds = kind
        self.first = np.searchsorted(self.stratum, np.arange(len(kind)))
        self.passed: set[Pair] = set()  # could not be stored, or nobody could say
        self.hear()

    def hear(self) -> None:
        """Take in what people have said by now, in this session or elsewhere."""
        self.take(labels.hear(self.index, self.run_id))

    def take(self, heard: Heard) -> None:
        names = {record for left, right, *_ in (*heard.verdicts, *heard.unsure) for record in (left, right)}
        rid = {
            str(record): int(number)
            for record, number in self.run.con.execute(
                "SELECT record_id, rid FROM records WHERE record_id IN (SELECT unnest(?::VARCHAR[]))", [sorted(names)]
            ).fetchall()
        }
        said = [(rid[a], rid[b], says == "link") for a, b, says in heard.verdicts if a in rid and b in rid]
        self.unsure = {_pair(rid[a], rid[b]) for a, b in heard.unsure if a in rid and b in rid}
        self._said = _Said(said)
        self._count(heard.earlier)
        self.__dict__.pop("estimate", None)

    def _count(self, earlier: Sequence[tuple[bool, float, float, bool]]) -> None:
        strata = len(self.kinds)
        same, different, drawn, drawn_same, turn = (np.zeros(strata, dtype=np.int64) for _ in range(5))
        spoken = np.isin(self.left, self._said.spoken) & np.isin(self.right, self._said.spoken)
        for place in map(int, np.flatnonzero(spoken)):
            known = self._said.of(self._at(place))
            same[self.stratum[place]] += known is True
            different[self.stratum[place]] += known is False
        count = np.bincount(self.stratum, minlength=strata)
        for number in range(strata):
            while turn[number] < count[number]:
                pair = self._at(int(self.first[number] + turn[number]))
                known = self._said.of(pair)
                if known is None and pair not in self.unsure and pair not in self.passed:
                    break
                turn[number] += 1
                drawn[number] += known is not None
                drawn_same[number] += known is True
        if earlier:
            # What was said of pairs that an earlier run promised as much tells of these, too.
            columns = [np.asarray(column) for column in zip(*earlier, strict=True)]
            kinds = _kind(columns[0], columns[1], columns[2])
            fits = np.isin(kinds, self.kinds)
            alike = np.searchsorted(self.kinds, kinds[fits])
            drawn += np.bincount(alike, minlength=strata)
            drawn_same += np.bincount(alike, weights=columns[3][fits], minlength=strata).astype(np.int64)
        self._turn = turn
        together, promised, weight = self._kinds
        self.strata = Strata(together, promised, count, weight, drawn, drawn_same, same, different)

    @cached_property
    def _kinds(self) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
        """Per stratum: whether it is of links, what its log-odds promise, and its mean weight."""
        ends = np.searchsorted(self.stratum, np.arange(len(self.kinds)), side="right")
        own = [slice(first, end) for first, end in zip(self.first, ends, strict=True)]
        return (
            self.together[self.first].astype(bool),
            np.array([posterior.promised(self.logit[one]) for one in own]),
            np.array([self.weight[one].mean() for one in own]),
        )

    def _at(self, place: int) -> Pair:
        return int(self.left[place]), int(self.right[place])

    @cached_property
    def estimate(self) -> Posterior:
        return posterior.weigh(self.strata, self.seed)

    def tight(self, until: float) -> bool:
        """Whether precision and recall are known to this much either way."""
        figures = [one for one in (self.estimate.precision, self.estimate.recall) if one is not None]
        return int(self.strata.drawn.sum()) >= LEAST and all(one.spread <= until for one in figures)

    def next(self) -> Asked | None:
        """The question that is worth most now; None where none is left."""
        found = self.plan(1)
        return found[0] if found else None

    def plan(self, most: int) -> list[Asked]:
        """The next questions in order, if answers are what the run expects."""
        if not len(self.kinds):
            return []
        strata, now, turn = self.strata, self.estimate, self._turn.copy()
        chosen: list[tuple[int, float]] = []
        while len(chosen) < most and (turn < strata.count).any():
            stratum = int(np.argmax(_worth(strata, now, turn < strata.count)))
            place = int(self.first[stratum] + turn[stratum])
            turn[stratum] += 1
            pair = self._at(place)
            if self._said.of(pair) is not None or pair in self.unsure or pair in self.passed:
                continue
            chosen.append((place, float(strata.count[stratum] / turn[stratum])))
            noise, doubt = now.share * (1 - now.share) + 1e-12, now.doubt.copy()
            doubt[stratum] *= (noise / (noise + doubt))[stratum]
            now = replace(now, doubt=doubt)
        return self._asked(chosen)

    def asked(self, left: int, right: int, ahead: int = 0) -> Asked:
        """A pair that a person names: a question that comes up among the next `ahead`, or one that was not drawn."""
        low, high = _pair(left, right)
        found = np.flatnonzero((self.left == low) & (self.right == high))
        if len(found):
            place = int(found[0])
            position = place - int(self.first[self.stratum[place]])
            drawn = position <= self._turn[self.stratum[place]] + ahead
            count = float(self.strata.count[self.stratum[place]])
            asked = self._asked([(place, count / (position + 1))])[0]
            return asked if drawn else replace(asked, stands_for=None)
        clusters = self.run.clusters([low, high])
        scored = self.run.rows("SELECT logit FROM decisions WHERE left_rid = ? AND right_rid = ?", [low, high])
        logit = float(scored[0]["logit"]) if scored else standing.UNSCORED
        return self._question(self._names([low, high]), low, high, clusters[low] == clusters[high], logit, 1.0, None)

    def surprises(self, asked: Asked, same: bool) -> bool:
        """Whether everything else that is known speaks against an answer."""
        return asked.together != same and abs(asked.logit) > SURPRISING

    def _asked(self, chosen: Sequence[tuple[int, float]]) -> list[Asked]:
        names = self._names([rid for place, _ in chosen for rid in self._at(place)])
        return [
            self._question(
                names,
                *self._at(place),
                bool(self.together[place]),
                float(self.logit[place]),
                float(self.weight[place]),
                round(stands_for, 3),
            )
            for place, stands_for in chosen
        ]

    def _question(
        self,
        names: dict[int, tuple[str, str]],
        left: int,
        right: int,
        together: bool,
        logit: float,
        weight: float,
        stands_for: float | None,
    ) -> Asked:
        (one, its_hash), (other, others_hash) = names[left], names[right]
        return Asked(one, other, its_hash, others_hash, together, logit, weight, stands_for)

    def _names(self, rids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Record id and content hash by rid."""
        found = self.run.con.execute(
            "SELECT rid, record_id, content_hash FROM records WHERE rid IN (SELECT unnest(?::INTEGER[]))", [list(rids)]
        ).fetchall()
        return {int(rid): (str(record), str(content)) for rid, record, content in found}


class _Said:
    """What follows from what people said of pairs: links hold records together, an unlink keeps two bundles apart."""

    def __init__(self, said: Sequence[tuple[int, int, bool]]) -> None:
        self._up: dict[int, int] = {}
        for one, other, same in said:
            if same:
                self._up[self._top(one)] = self._top(other)
        self._apart = {_pair(self._top(one), self._top(other)) for one, other, same in said if not same}
        self.spoken: Ints = np.unique(np.array([rid for one, other, _ in said for rid in (one, other)], dtype=np.int64))

    def of(self, pair: Pair) -> bool | None:
        """Whether the two are one person; None where nothing follows."""
        one, other = self._top(pair[0]), self._top(pair[1])
        if one == other:
            return True
        return False if _pair(one, other) in self._apart else None

    def _top(self, rid: int) -> int:
        while (above := self._up.get(rid, rid)) != rid:
            self._up[rid] = self._up.get(above, above)
            rid = above
        return rid


def _worth(strata: Strata, now: Posterior, open_: npt.NDArray[np.bool_]) -> Floats:
    """Per stratum, what the next answer is worth: half for the estimate, half for the persons that it may change."""
    narrows = posterior.gain(strata, now)
    changes = np.where(strata.together, 1 - now.share, now.share) * strata.weight
    result: Floats = np.full(len(open_), -1.0)
    result[open_] = sum(one[open_] / max(float(one[open_].max()), 1e-12) for one in (narrows, changes))
    return result


def _kind(together: npt.NDArray[np.generic], logit: Floats, weight: Floats) -> Ints:
    """The stratum of a question, as a number that means the same in every run."""
    of_logit = np.where(together, len(APART) + 1 + np.digitize(logit, TOGETHER), np.digitize(logit, APART))
    result: Ints = of_logit * (len(WEIGHTS) + 1) + np.digitize(weight, WEIGHTS)
    return result


def _pair(one: int, other: int) -> Pair:
    return (one, other) if one < other else (other, one)


def _published(run: Opened) -> str:
    """The run of the index, if it is this one."""
    from resolver import mpi

    facts = run.facts.get("publish")
    if facts is None:
        raise RunError(f"The run in {run.folder.path} is not finished.", do="Run the config: resolver run CONFIG")
    last = mpi.last_run(run.settings.index_path)
    if last is None:
        raise RunError(f"There is no index {run.settings.index_path}.", do="Run the config: resolver run CONFIG")
    if (last.run_id, last.content) != (facts["run"], facts["content"]):
        raise RunError(
            f"The index holds the run {last.run_id}, which is not the one in {run.folder.path}.",
            do="Label the run that was published last, or run this config again.",
        )
    return last.run_id
