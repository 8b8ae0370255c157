"""What answers of people are worth: does the estimate cover the truth, does it tighten, and what do answers bring.

    python benchmarks/label.py CONFIG... [--answers N] [--wrong SHARE] [--sessions N]

Each CONFIG is a finished run with evaluate.truth. An oracle answers from the truth, and gives the wrong answer in a
share of the questions; like a person, it is asked once more where everything else speaks against its answer. Sessions
differ in which pairs are drawn. Shown per number of answers: how often the 95 % interval holds the truth, half its
width, and pair F1 if the persons are made anew with these answers. The truth of recall is of scored pairs, as its
estimate is. The index of the run is read, and nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from resolver import settings
from resolver.cluster.solve import cluster
from resolver.evaluate import counts, truth
from resolver.explain.opened import Opened
from resolver.label.survey import Survey
from resolver.mpi import LOGIT
from resolver.mpi.labels import Heard

POINTS = (0, 25, 50, 100, 150, 200, 300, 400)


class Session(Survey):
    """A survey whose answers stay in memory."""

    def __init__(self, run: Opened, seed: int) -> None:
        self.answers: list[tuple[str, str, str]] = []
        super().__init__(run, seed)

    def hear(self) -> None:
        self.take(Heard(self.answers, [], []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--wrong", type=float, default=0.05, help="share of wrong answers")
    parser.add_argument("--sessions", type=int, default=10)
    asked = parser.parse_args()
    for config in asked.configs:
        loaded = settings.load(config)
        if loaded.evaluate.truth is None:
            parser.error(f"{config}: evaluate.truth is not set")
        with Opened(loaded) as run:
            person = truth.read(run.con, loaded.evaluate.truth, "records").person
            bed = Bed(run, person)
            print(f"\n{config.stem}: {len(person):,} records; precision {bed.precision:.4f}, recall {bed.recall:.4f}")
            print(f"{'answers':>8}{'precision':>11}{'holds':>7}{'±':>8}{'recall':>9}{'holds':>7}{'±':>8}{'F1':>9}")
            sessions = [bed.session(seed, asked.answers, asked.wrong) for seed in range(asked.sessions)]
            for rows in zip(*sessions, strict=True):
                mean = np.mean(rows, axis=0)
                print("{:8.0f}{:11.4f}{:7.0%}{:8.4f}{:9.4f}{:7.0%}{:8.4f}{:9.5f}".format(*mean))


class Bed:
    def __init__(self, run: Opened, person: np.ndarray) -> None:
        self.run, self.person = run, person
        self.rid = dict(run.con.execute("SELECT record_id, rid FROM records").fetchall())
        columns = "left_rid, right_rid, logit - coalesce(human, 0) AS logit"
        self.scored = run.con.execute(f"SELECT {columns} FROM decisions ORDER BY left_rid, right_rid").fetchnumpy()
        sources = run.con.execute("SELECT dense_rank() OVER (ORDER BY source) - 1 AS s FROM records ORDER BY rid")
        self.source = np.asarray(sources.fetchnumpy()["s"], dtype=np.int64)
        self.cost = float(run.facts["cluster"]["same_source_logit"])
        found = run.con.execute("SELECT cluster FROM clusters ORDER BY rid").fetchnumpy()["cluster"]
        laid = counts.lay(person, np.asarray(found, dtype=np.int64))
        right = float((laid.in_both - 1).sum()) / 2
        self.precision = right / (float((laid.in_cluster - 1).sum()) / 2)
        # Scored pairs of one person that ended apart.
        left, other = self.scored["left_rid"], self.scored["right_rid"]
        lost = int(((person[left] == person[other]) & (found[left] != found[other])).sum())
        self.recall = right / (right + lost)

    def session(self, seed: int, answers: int, wrong: float) -> list[tuple[float, ...]]:
        rng = np.random.default_rng(seed)
        survey = Session(self.run, seed)
        rows = []
        while True:
            if len(survey.answers) in POINTS:
                rows.append(self._row(survey))
            asked = survey.next() if len(survey.answers) < answers else None
            if asked is None:
                break
            same = bool(self.person[self.rid[asked.left]] == self.person[self.rid[asked.right]])
            says = same ^ bool(rng.random() < wrong)
            if survey.surprises(asked, says):
                says = same ^ bool(rng.random() < wrong)
            left, right = sorted((asked.left, asked.right))
            survey.answers.append((left, right, "link" if says else "unlink"))
            survey.hear()
        rows += [self._row(survey)] * (sum(point <= answers for point in POINTS) - len(rows))
        return rows

    def _row(self, survey: Session) -> tuple[float, ...]:
        found = survey.estimate
        row: list[float] = [len(survey.answers)]
        for figure, true in ((found.precision, self.precision), (found.recall, self.recall)):
            assert figure is not None
            row += [figure.value, figure.low - 1e-9 <= true <= figure.high + 1e-9, figure.spread]
        return (*row, self._f1(survey.answers))

    def _f1(self, answers: Iterable[tuple[str, str, str]]) -> float:
        """Of the persons that clustering makes with these answers."""
        said = {
            tuple(sorted((self.rid[left], self.rid[right]))): LOGIT if says == "link" else -LOGIT
            for left, right, says in answers
        }
        left, right, logit = (self.scored[name] for name in ("left_rid", "right_rid", "logit"))
        scored = {pair: place for place, pair in enumerate(zip(left.tolist(), right.tolist(), strict=True))}
        human = np.zeros(len(left))
        new = []
        for pair, value in said.items():
            if pair in scored:
                human[scored[pair]] = value
            else:
                new.append((*pair, value))
        extra = np.array(new, dtype=float).reshape(-1, 3)
        left, right = (np.concatenate([old, extra[:, n].astype(old.dtype)]) for n, old in ((0, left), (1, right)))
        human = np.concatenate([human, extra[:, 2]])
        result = cluster(
            len(self.person),
            left,
            right,
            np.concatenate([logit, np.zeros(len(extra))]) + human,
            self.source,
            unscored=self.run.settings.cluster.unscored_logit,
            same_source=self.cost,
            together=human > 0,
            apart=human < 0,
        )
        laid = counts.lay(self.person, np.asarray(result.labels, dtype=np.int64))
        right_pairs, linked, true = ((one - 1).sum() for one in (laid.in_both, laid.in_cluster, laid.in_person))
        return float(2 * right_pairs / (linked + true))


if __name__ == "__main__":
    main()
