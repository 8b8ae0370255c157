"""What answers of people are worth: does the estimate cover the truth, does it tighten, and what do answers bring.

    python benchmarks/label.py CONFIG... [--answers N] [--wrong SHARE] [--sessions N] [--learn]

Each CONFIG is a finished run with evaluate.truth. An oracle answers from the truth, and gives the wrong answer in a
share of the questions; like a person, it is asked once more where everything else speaks against its answer. Sessions
differ in which pairs are drawn. Shown per number of answers: how often the 95 % interval holds the truth, half its
width, and pair F1 if the persons are made anew with these answers. The truth of recall is of scored pairs, as its
estimate is. --learn: learning without labels is done again, with no answer and with all answers of each session; shown
is pair F1 by its log-odds alone, and with the answers binding the persons too. The index of the run is read, and
nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from resolver import settings
from resolver.cluster.solve import cluster
from resolver.evaluate import counts, truth
from resolver.explain.opened import Opened
from resolver.judges.learned import Learned
from resolver.label.survey import Survey
from resolver.learn import judged, sample, unlabelled
from resolver.learn.said import Said
from resolver.mpi import LOGIT
from resolver.mpi.labels import Heard

Answer = tuple[str, str, str]  # two records, link or unlink

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
    parser.add_argument("--learn", action="store_true", help="learn again with the answers, which takes a while each")
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
            answered, sessions = zip(
                *(bed.session(seed, asked.answers, asked.wrong) for seed in range(asked.sessions)), strict=True
            )
            for rows in zip(*sessions, strict=True):
                mean = np.mean(rows, axis=0)
                print("{:8.0f}{:11.4f}{:7.0%}{:8.4f}{:9.4f}{:7.0%}{:8.4f}{:9.5f}".format(*mean))
            if asked.learn:
                drawn = bed.draw()
                print(f"learned anew    no answers: F1 {bed.learned(drawn, [])[0]:.5f}", flush=True)
                for answers in answered:
                    print(
                        "                {} answers: F1 {:.5f}, binding too {:.5f}".format(
                            len(answers), *bed.learned(drawn, answers)
                        ),
                        flush=True,
                    )


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

    def session(self, seed: int, answers: int, wrong: float) -> tuple[list[Answer], list[tuple[float, ...]]]:
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
        return survey.answers, rows

    def _row(self, survey: Session) -> tuple[float, ...]:
        found = survey.estimate
        row: list[float] = [len(survey.answers)]
        for figure, true in ((found.precision, self.precision), (found.recall, self.recall)):
            assert figure is not None
            row += [figure.value, figure.low - 1e-9 <= true <= figure.high + 1e-9, figure.spread]
        return (*row, self._f1(self.scored, survey.answers))

    def draw(self) -> sample.Sample:
        """The pairs of the run, to learn from."""
        folder, most = self.run.folder, self.run.settings.learn.max_pairs
        paths = (folder.require(table) for table in ("records", "events", "pairs"))
        return sample.draw(self.run.con, *paths, most=most, folds=unlabelled.FOLDS)

    def learned(self, drawn: sample.Sample, answers: Sequence[Answer]) -> tuple[float, float]:
        """F1 of what the input and these answers teach: by its log-odds alone, and with the answers binding."""
        rows = [(self.rid[left], self.rid[right], says == "link") for left, right, says in answers]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        taught = unlabelled.teach(
            drawn,
            seed=self.run.settings.run.seed,
            threads=self.run.settings.run.threads,
            unscored=self.run.settings.cluster.unscored_logit,
            same_source=judged.same_source(drawn, drawn.splink),
            say=lambda text: None,
            said=Said(columns[0], columns[1], columns[2] > 0),
        )
        learned = Learned("unlabelled", "", taught.demographic, taught.joint)
        logit = judged.logits(drawn, learned, self.run.settings.run.threads)
        scored = {"left_rid": drawn.left, "right_rid": drawn.right, "logit": logit}
        return self._f1(scored, []), self._f1(scored, answers)

    def _f1(self, scored: dict[str, np.ndarray], answers: Iterable[Answer]) -> float:
        """Of the persons that clustering makes with these answers."""
        said = {
            tuple(sorted((self.rid[left], self.rid[right]))): LOGIT if says == "link" else -LOGIT
            for left, right, says in answers
        }
        left, right, logit = (scored[name] for name in ("left_rid", "right_rid", "logit"))
        places = {pair: place for place, pair in enumerate(zip(left.tolist(), right.tolist(), strict=True))}
        human = np.zeros(len(left))
        new = []
        for pair, value in said.items():
            if pair in places:
                human[places[pair]] = value
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
            against=self.run.settings.cluster.against,
            together=human > 0,
            apart=human < 0,
        )
        laid = counts.lay(self.person, np.asarray(result.labels, dtype=np.int64))
        right_pairs, linked, true = ((one - 1).sum() for one in (laid.in_both, laid.in_cluster, laid.in_person))
        return float(2 * right_pairs / (linked + true))


if __name__ == "__main__":
    main()
