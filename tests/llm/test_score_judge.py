"""The judge `llm`: who is asked about, in what order and for how much, and that nothing is paid for twice."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from resolver import judges, settings
from resolver.errors import QualityGateError, UsageError
from resolver.judges import Evidence
from resolver.progress import Progress

pytestmark = pytest.mark.llm

Tokens = tuple[int, ...]


class Heard(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def says(tokens: Tokens) -> float:
    return sum(tokens) % 101 / 10 - 5


@pytest.fixture(scope="session")
def served(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose golden logits are what the fake server says."""
    import shutil

    from llm_classifier import artifact, golden, prompt
    from llm_classifier.score.server import tokenizer

    folder = tmp_path_factory.mktemp("served") / "model"
    shutil.copytree(tiny_classifier, folder)
    told = dataclasses.replace(artifact.read(folder), tokens_per_side=200, max_tokens=2048)
    artifact.write(folder, told)
    prompts = [prompt.pair(f"conditions: asthma since {year}", "conditions: asthma") for year in range(1990, 1994)]
    logits = [says(tuple(one.ids)) for one in tokenizer(folder).encode_batch(prompts)]
    golden.write(folder, prompts, np.array(logits))
    return folder


@pytest.fixture
def given(labelled_run: Path, tmp_path: Path, served: Path) -> Any:
    """Evidence for the judge, and the pairs of the run that are gray."""

    def make(url: str, **section: Any) -> Evidence:
        more = {"model": served, "backend": "vllm-server", "endpoint": url, "cache": tmp_path / "kept.sqlite"} | section
        told = [f"llm.{name}={json.dumps(value, default=str)}" for name, value in more.items()]
        loaded = settings.load(labelled_run, ('adjudicate.judges=["llm"]', "run.threads=1", *told))
        run = loaded.run.dir
        pairs = run / "pairs.parquet"
        return Evidence(
            loaded,
            run / "records.parquet",
            run / "events.parquet",
            tmp_path / "none",
            tmp_path / "none",
            tmp_path,
            Heard(),
            pairs=pairs,
            standing=lambda: pl.read_parquet(pairs, columns=["left_rid", "right_rid", "logit"]),
        )

    return make


def gray(evidence: Evidence, many: int = 120) -> pl.DataFrame:
    assert evidence.pairs is not None
    pairs = pl.read_parquet(evidence.pairs, columns=["left_rid", "right_rid", "logit"])
    return pairs.filter(pl.col("logit").abs() < 2).head(many)


def ask(evidence: Evidence, pairs: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    from llm_classifier.score.judge import LlmJudge

    judge = LlmJudge(evidence)
    return judge.judge(pairs), judge.facts()


def asked(server: Any) -> list[Tokens]:
    """All prompts that were sent, but for the four golden ones that come first."""
    return [one for batch in server.asked for one in batch][4:]


def test_no_pair_is_paid_for_twice(given: Any, fake: ModuleType, served: Path) -> None:
    """Each pair with two histories gets the raw logit of its prompt; asked again, also for turned pairs, it is free."""
    with fake.serve(says) as server:
        evidence = given(server.url)
        pairs = gray(evidence)
        first, facts = ask(evidence, pairs)
        sent = asked(server)
        turned = pairs.rename({"left_rid": "right_rid", "right_rid": "left_rid"}).select(pairs.columns)
        again, later = ask(evidence, turned)
        assert asked(server) == sent
    assert set(first["status"]) == {"ok"} and len(first) == len(pairs) - facts["without_history"]
    assert sorted(first["logit"].unique().round(6)) == sorted({round(says(one), 6) for one in sent})
    assert again["logit"].to_list() == first["logit"].to_list()
    assert len(set(sent)) == len(sent) == facts["prompts_asked"] == facts["prompts"]
    assert later["prompts_asked"] == 0 and later["from_cache"] == len(first)
    assert facts["prompt_tokens"] == sum(map(len, sent))
    assert judges.find("llm").__name__ == "LlmJudge"


def test_prompts_of_one_history_follow_each_other(given: Any, fake: ModuleType) -> None:
    """Sent in the order of the first history, so that a server finds its tokens in its cache."""
    with fake.serve(says) as server:
        evidence = given(server.url, in_flight=1)
        ask(evidence, gray(evidence))
        sent = asked(server)
    fixed = min(_shared([sent[0], one]) for one in sent[1:])  # the instruction, which all begin with
    own = _shared(sent) - fixed * (len(sent) - 1)
    scattered = _shared(sorted(sent, key=lambda one: hash(one[::-1]))) - fixed * (len(sent) - 1)
    assert own > 2 * scattered + 1000


def _shared(prompts: list[Tokens]) -> int:
    """Tokens that each prompt begins with like the one before it."""
    together = 0
    for one, other in itertools.pairwise(prompts):
        same = [here == there for here, there in zip(one, other, strict=False)]
        together += same.index(False) if False in same else len(same)
    return together


def test_like_histories_are_asked_about_once(given: Any, fake: ModuleType, tmp_path: Path) -> None:
    """Pairs whose two histories read the same have one prompt; a record without any has no verdict."""
    with fake.serve(says) as server:
        evidence = given(server.url)
        pairs = gray(evidence)
        events = tmp_path / "events.parquet"
        rids = pairs["left_rid"].unique().sort()
        twin, other, silent = int(rids[0]), int(rids[1]), int(rids[2])
        duckdb.execute(
            f"COPY (SELECT * REPLACE (CASE rid WHEN {other} THEN {twin} ELSE rid END AS rid) FROM '{evidence.events}'"
            f" WHERE rid NOT IN ({twin}, {silent}) UNION ALL SELECT * FROM '{evidence.events}' WHERE rid = {other}"
            f" ORDER BY rid) TO '{events}'"
        )
        evidence = dataclasses.replace(evidence, events=events)
        rest = [int(rid) for rid in rids[3:9]]
        wanted = pl.DataFrame({"left_rid": [twin] * 6 + [other] * 6 + [silent], "right_rid": rest * 2 + rest[:1]})
        found, facts = ask(evidence, wanted.with_columns(logit=0.0))
    assert len(found) == 12 and facts["without_history"] == 1
    assert facts["prompts_asked"] == 6
    assert found["logit"][:6].to_list() == found["logit"][6:].to_list()


def test_both_orders(given: Any, fake: ModuleType) -> None:
    """Two prompts per pair, and their mean; what was asked in one order before is not asked again."""
    with fake.serve(says) as server:
        evidence = given(server.url)
        pairs = gray(evidence, 40)
        one, facts = ask(evidence, pairs)
        before = len(server.asked)
        both, later = ask(given(server.url, both_orders=True), pairs)
        turned = {one for batch in server.asked[before:] for one in batch}
    assert later["prompts_asked"] == facts["prompts_asked"]
    other = 2 * both["logit"] - one["logit"]
    assert set(other.round(6)) <= {round(says(tokens), 6) for tokens in turned}


def test_the_budget_goes_to_what_matters(given: Any, fake: ModuleType) -> None:
    """max_pairs and max_cost ask about the pairs that are worth most; what is known is free and does not count."""
    from llm_classifier.score import cascade

    with fake.serve(says) as server:
        evidence = given(server.url, max_pairs=20)
        pairs = gray(evidence)
        some, facts = ask(evidence, pairs)
        made = evidence.settings.cluster
        worth = cascade.worth(pairs, evidence.standing(), unscored=made.unscored_logit, against=made.against)
        assert len(some) == facts["prompts_asked"] == 20
        assert facts["beyond_budget"] == len(pairs) - facts["without_history"] - 20
        kept = pairs.with_columns(worth=worth).join(some, on=["left_rid", "right_rid"], how="semi")
        assert kept["worth"].min() >= np.sort(worth)[::-1][20 + facts["without_history"]]

        more, _ = ask(given(server.url, max_pairs=10), pairs)
        assert len(more) == 30

        price = 10.0
        cheap, facts = ask(given(server.url, max_cost=0.2, price_per_million_tokens=price), pairs)
        assert 30 < len(cheap) < len(pairs)
        assert 0.1 < facts["cost"] <= 0.2
        assert facts["cost"] == pytest.approx(price * facts["prompt_tokens"] / 1e6, abs=1e-3)


def test_what_gets_no_answer_is_said_and_not_kept(given: Any, fake: ModuleType) -> None:
    """A prompt that the server refuses leaves a verdict that failed, without a logit; later it is asked again."""
    with fake.serve(says) as server:
        evidence = given(server.url)
        pairs = gray(evidence, 30)
        ask(given(server.url, max_pairs=3), pairs)
        golden = set(server.asked[0])
        server.trouble = lambda number, prompts: (
            "refuse" if any(sum(one) % 3 == 0 and one not in golden for one in prompts) else None
        )
        bad, facts = ask(evidence, pairs)
        failed = bad.filter(pl.col("status") == "failed")
        assert 0 < len(failed) == facts["refused"] and failed["logit"].null_count() == len(failed)
        server.trouble = lambda number, prompts: None
        good, later = ask(evidence, pairs)
    assert set(good["status"]) == {"ok"}
    assert later["prompts_asked"] == len(failed)


def test_a_server_that_answers_otherwise_is_not_paid(given: Any, fake: ModuleType) -> None:
    """Golden logits come first; where they differ nothing else is sent, and no text stands in the error."""
    with fake.serve(lambda tokens: math.tanh(says(tokens))) as server:
        evidence = given(server.url)
        with pytest.raises(QualityGateError, match="does not answer as the model does") as caught:
            ask(evidence, gray(evidence))
        assert asked(server) == []
    assert "asthma" not in str(caught.value) and "conditions" not in str(caught.value)


def test_nothing_of_a_patient_is_said(given: Any, fake: ModuleType) -> None:
    """What the judge tells while it works, and its facts, hold counts and rates alone."""
    with fake.serve(says) as server:
        evidence = given(server.url)
        found, facts = ask(evidence, gray(evidence, 50))
    (line,) = evidence.progress.lines
    assert "pairs/s" in line and "from the cache" in line
    assert all(isinstance(value, int | float | None) for value in facts.values())
    assert len(found) == 50 - facts["without_history"]


KILLED = """
    import json, sys
    from pathlib import Path
    import polars as pl
    from llm_classifier.score.judge import LlmJudge
    from resolver import settings
    from resolver.judges import Evidence
    from resolver.progress import Progress

    config, overrides, pairs, scratch = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    loaded = settings.load(Path(config), tuple(overrides))
    run = loaded.run.dir
    evidence = Evidence(loaded, run / "records.parquet", run / "events.parquet", scratch, scratch, scratch, Progress())
    LlmJudge(evidence).judge(pl.read_parquet(pairs))
"""


def test_a_kill_loses_what_is_under_way_and_no_more(
    given: Any, fake: ModuleType, labelled_run: Path, served: Path, tmp_path: Path
) -> None:
    """kill -9 in the middle: the next run asks only what had no answer."""
    stop = 8  # requests
    with fake.serve(says) as server:
        server.trouble = lambda number, prompts: "hang" if number >= stop else (time.sleep(0.1), None)[1]
        server.hang = 60.0
        evidence = given(server.url, in_flight=2)
        pairs = gray(evidence)
        pairs.write_parquet(tmp_path / "asked.parquet")
        section = {"model": served, "backend": "vllm-server", "endpoint": server.url, "in_flight": 2}
        told = [f"llm.{name}={json.dumps(value, default=str)}" for name, value in section.items()]
        told += [f"llm.cache={tmp_path / 'kept.sqlite'}", 'adjudicate.judges=["llm"]', "run.threads=1"]
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", textwrap.dedent(KILLED), str(labelled_run)),
                *(json.dumps(told), str(tmp_path / "asked.parquet"), str(tmp_path)),
            ]
        )
        deadline = time.monotonic() + 120
        while len(server.asked) < stop + 1 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        answered = set(server.answered)
        server.trouble = lambda number, prompts: None
        before = len(server.asked)
        found, facts = ask(evidence, pairs)
        repeated = {one for batch in server.asked[before:] for one in batch} & answered
    assert len(found) == len(pairs) - facts["without_history"] and set(found["status"]) == {"ok"}
    assert facts["from_cache"] > 30
    assert repeated <= set(server.asked[0])  # the golden ones


def test_what_makes_evidence_of_its_logits(served: Path) -> None:
    """Calibrated: log-odds in the gray zone less that zone's prior. Never calibrated: less the prior of training."""
    from llm_classifier import artifact
    from llm_classifier.score.judge import line

    told = dataclasses.replace(artifact.read(served), prior_train=0.5)
    assert line(told, 0.025) == (1.0, 0.0)
    assert line(dataclasses.replace(told, prior_train=0.2), 0.025)[1] == pytest.approx(math.log(4))
    fitted = dataclasses.replace(told, calibration={"temperature": 2.0, "bias": -3.0, "prior": 0.1})
    slope, intercept = line(fitted, 0.025)
    assert slope == 0.5 and intercept == pytest.approx(-3.0 + math.log(9))


def test_it_needs_a_model(labelled_run: Path, tmp_path: Path) -> None:
    """Without one the run stops before anything is asked, and says what to set."""
    loaded = settings.load(labelled_run, ('adjudicate.judges=["llm"]',))
    with pytest.raises(UsageError, match=r"Set llm\.model"):
        judges.find("llm")(Evidence(loaded, *[tmp_path] * 5, Progress()))  # type: ignore[arg-type]
