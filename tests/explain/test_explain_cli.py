"""`resolver explain` as a person meets it: what it prints, draws and refuses."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Explain = Callable[..., tuple[int, str, str]]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def both(finished: Any) -> tuple[str, str]:
    """The ids of a likely pair."""
    ((left, right),) = finished.query("SELECT left_rid, right_rid FROM decisions ORDER BY logit DESC LIMIT 1")
    return finished.record_id(left), finished.record_id(right)


def figures(text: str, label: str) -> list[float]:
    """The log-odds in rows that begin with a label."""
    found = re.findall(rf"^{label} +([+−]?[\d.]+)", text, re.MULTILINE)
    return [float(one.replace("−", "-")) for one in found]


def test_a_pair_is_shown_from_the_prior_to_the_sum(finished: Any, explain: Explain, both: tuple[str, str]) -> None:
    """Prior, groups and sum add up on the screen as they do in JSON; both ids and the values are there."""
    code, shown, _ = explain(finished.config, *both)
    _, text, _ = explain(finished.config, *both, "--json")
    found = json.loads(text)
    parts = [*figures(shown, "prior"), *figures(shown, "demographics"), *figures(shown, "clinical history")]

    assert code == 0
    assert sum(parts) == pytest.approx(found["logit"], abs=0.02)
    assert figures(shown, "sum") == [pytest.approx(found["logit"], abs=0.006)]
    assert found["logit"] == pytest.approx(found["stored"], abs=1e-6)
    assert all(one in shown for one in both)
    assert found["left"]["last_name"] in shown
    assert "Blocking proposed it: same " in shown
    assert "The run calls it a match" in shown


def test_all_shows_every_line_and_feature(finished: Any, explain: Explain, both: tuple[str, str]) -> None:
    """What the short form sums up as the others is listed, each feature with its own log-odds."""
    _, short, _ = explain(finished.config, *both)
    _, full, _ = explain(finished.config, *both, "--all")
    _, text, _ = explain(finished.config, *both, "--json")
    features = [one for group in json.loads(text)["groups"] for line in group["lines"] for one in line["parts"]]

    assert re.search(r"the other \d+ ", short)
    assert not re.search(r"the other \d+ ", full)
    assert len(features) > 40
    for one in features:
        assert one["says"] in full


def test_a_narrow_terminal_gets_whole_lines(
    finished: Any, explain: Explain, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns no line of the waterfall is longer than the terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    _, shown, _ = explain(finished.config, *both)
    rows = shown[shown.index("\nprior") : shown.index("\nsum")].splitlines()

    assert len(rows) > 5
    assert max(map(len, rows)) <= 80


def test_doubtful_lists_the_pairs_nearest_to_even_odds(finished: Any, explain: Explain) -> None:
    """The ten pairs are those whose log-odds are nearest to nothing, and the first is explained."""
    nearest = finished.query(
        """SELECT left_rid, right_rid FROM decisions WHERE human IS NULL
        ORDER BY abs(logit), left_rid, right_rid LIMIT 10"""
    )
    code, shown, _ = explain(finished.config, "--doubtful")
    _, text, _ = explain(finished.config, "--doubtful", "--json")
    found = json.loads(text)

    assert code == 0
    assert [(one["left_rid"], one["right_rid"]) for one in found["doubtful"]] == nearest
    assert (found["left"]["rid"], found["right"]["rid"]) == nearest[0]
    assert f"{finished.record_id(nearest[0][0])} and {finished.record_id(nearest[0][1])}" in shown


def test_a_person_is_shown_with_pairs_bridge_and_neighbours(finished: Any, explain: Explain) -> None:
    """Records, the weakest pair first, the weakest bridge and the nearest other persons."""
    ((cluster,),) = finished.query(
        "SELECT cluster FROM clusters GROUP BY cluster ORDER BY count(*) DESC, cluster LIMIT 1"
    )
    code, shown, _ = explain(finished.config, f"cluster:{cluster}")
    _, text, _ = explain(finished.config, f"cluster:{cluster}", "--json")
    found = json.loads(text)

    assert code == 0
    assert found["person_id"] in shown
    for row in found["records"].values():
        assert row["record_id"] in shown
    assert "The weakest bridge is " in shown
    assert "The nearest other persons:" in shown


def test_the_picture_holds_the_sum_and_escapes_what_records_say(
    finished: Any, explain: Explain, both: tuple[str, str], tmp_path: Path
) -> None:
    """Markup and control characters in a name are text in the SVG and harmless in the terminal."""
    evil = finished.copy(tmp_path)
    name = "<script>alert(1)</script>&\"'"
    ((rid,),) = finished.query(f"SELECT rid FROM records WHERE record_id = '{both[0]}'")
    quoted = name.replace("'", "''")
    evil.rewrite(
        "records",
        f"""SELECT * REPLACE (CASE WHEN rid = {rid} THEN '{quoted}' ELSE last_name END AS last_name,
            CASE WHEN rid = {rid} THEN chr(27) || '[31mred' || chr(10) || 'x' ELSE first_name END AS first_name)
        FROM records ORDER BY rid""",
    )
    code, shown, said = explain(evil.config, *both, "--svg", tmp_path / "pair.svg", "--all")
    picture = (tmp_path / "pair.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(picture)
    texts = [one.text or "" for one in root.iter(f"{SVG}text")]

    assert (code, said) == (0, "")
    assert root.tag == f"{SVG}svg"
    assert root.find(f".//{SVG}script") is None
    assert any(text.startswith("<script>") for text in texts)
    assert "prefers-color-scheme:dark" in picture
    assert "\x1b" not in shown
    assert "\x1b" not in picture
    figure = next(text for text in re.findall(r"log-odds ([+−]?[\d.]+)", picture))
    assert figure in texts


def test_ids_that_are_nobodys_end_with_one_line_that_does_not_repeat_them(finished: Any, explain: Explain) -> None:
    """Exit 1, a hint how a record is written and which sources there are, and not what was typed."""
    ((known,),) = finished.query("SELECT record_id FROM records ORDER BY rid LIMIT 1")
    for arguments in (("SECRET-NO-17", known), (known, "SECRET-NO-17"), ("SECRET-NO-17",)):
        code, shown, said = explain(finished.config, *arguments)
        assert code == 1
        assert shown == ""
        assert said.count("\n") == 1
        assert "SECRET" not in said
        assert "source:id" in said
        assert known.partition(":")[0] in said


def test_a_bare_id_is_enough_where_one_source_has_it(
    finished: Any, explain: Explain, both: tuple[str, str], tmp_path: Path
) -> None:
    """The id alone leads to the record; where two sources have it, the full form is asked for."""
    bare = [one.partition(":")[2] for one in both]
    code, shown, _ = explain(finished.config, *bare)
    assert code == 0
    assert f"{both[0]} and {both[1]}" in shown

    twice = finished.copy(tmp_path)
    twice.rewrite("records", "SELECT * REPLACE ('7' AS source_record_id) FROM records ORDER BY rid")
    code, _, said = explain(twice.config, "7", both[1])
    assert code == 1
    assert "in several sources" in said


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "Say what to explain"),
        (("a", "b", "c"), "Say what to explain"),
        (("a", "b", "--doubtful"), "not several of these"),
        (("a", "--svg", "x.svg"), "--svg draws a pair"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    finished: Any, explain: Explain, arguments: tuple[str, ...], line: str
) -> None:
    """Exit 2 with one line that says what to give."""
    code, _, said = explain(finished.config, *arguments)
    assert code == 2
    assert line in said


def test_a_picture_that_cant_be_written_is_one_line(
    finished: Any, explain: Explain, both: tuple[str, str], tmp_path: Path
) -> None:
    """A folder in the way of the file is named."""
    (tmp_path / "file").write_text("in the way")
    code, _, said = explain(finished.config, *both, "--svg", tmp_path / "file" / "pair.svg")
    assert code == 1
    assert said.count("\n") == 1
    assert "pair.svg can't be written" in said


def test_before_a_run_it_says_what_to_run(finished: Any, explain: Explain, tmp_path: Path) -> None:
    """Without a finished run there is nothing to explain, and the command to run is named."""
    code, _, said = explain(finished.config, "a", "b", "--set", f"run.dir={tmp_path / 'none'}")
    assert code == 1
    assert "Run the config first" in said


def test_a_run_without_its_manifest_is_not_finished(finished: Any, explain: Explain, tmp_path: Path) -> None:
    """What clustering counted with is in the manifest; without it the command says what to run."""
    bare = finished.copy(tmp_path)
    (bare.run / "manifest.json").unlink()
    code, _, said = explain(bare.config, "cluster:0")
    assert code == 1
    assert "is not finished" in said
