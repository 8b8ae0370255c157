"""`resolver label` as a person meets it: keys, files, JSON, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resolver.label import survey
from resolver.label.survey import Survey

Label = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def pairs(site: Any, label: Label, most: int) -> list[dict[str, Any]]:
    _, out, _ = label(site.config, "--json", "--max", most)
    found: list[dict[str, Any]] = json.loads(out)["pairs"]
    return found


def write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("left", "right", "answer"), *rows])
    return path


def test_answers_are_stored_one_by_one(site: Any, label: Label) -> None:
    """Answers are each stored before the next question; q stops and says what to do next."""
    code, out, _ = label(site.config, keys="uuuq")

    assert code == 0
    stored = site.rows("SELECT answer, count(*) FROM labels GROUP BY answer")
    assert stored == [("unsure", 3)]
    assert "The next run uses them: resolver run" in out
    assert "precision" in out and "recall" in out


def test_lines_fit_80_columns(site: Any, label: Label, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records, histories and figures are readable at 80 columns, without colour where NO_COLOR says so."""
    monkeypatch.setenv("NO_COLOR", "1")
    _, out, _ = label(site.config, keys="uuq")
    lines = [line for line in out.splitlines() if not line.startswith(("Fields:", "2 answers stored"))]

    assert "\x1b" not in out
    assert len(lines) > 30
    assert max(map(len, lines)) <= 80


def test_back_takes_the_last_answer_back(site: Any, label: Label) -> None:
    """b undoes the last answer in the index and asks the same pair again; with nothing to take back it says so."""
    _, out, _ = label(site.config, keys="ububbq")

    assert "Taken back." in out
    assert "There is no answer of this session to take back." in out
    assert site.rows("SELECT count(*) FROM events WHERE kind = 'undone'") == [(2,)]


def test_an_answer_against_everything_is_asked_again(site: Any, label: Label, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that everything else speaks against is stored only when the key is pressed twice."""
    doubtful = Survey.surprises
    monkeypatch.setattr(Survey, "surprises", lambda self, asked, same: not same or doubtful(self, asked, same))
    _, out, _ = label(site.config, keys="nynnq")

    assert "Everything else speaks against it: n again to keep it" in out
    assert site.rows("SELECT answer, count(*) FROM labels GROUP BY answer") == [("different", 1)]


def test_stops_when_tight_when_enough_and_when_all_are_asked(
    site: Any, label: Label, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session ends when the estimate is as tight as asked, after --max, or with nothing left, and says which."""
    _, out, _ = label(site.config, "--max", 2, keys="uu")
    assert "2 questions are answered, as many as --max allows." in out

    rows = [
        (one["left"], one["right"], "y" if site.same(one["left"], one["right"]) else "n")
        for one in pairs(site, label, 4)
    ]
    _, out, _ = label(site.config, "--answers", write(site.folder / "a.csv", rows))
    assert "4 of 4 answers stored." in out
    _, out, _ = label(site.config, "--until", "0.5", keys="q")
    assert "as tight as asked" not in out
    monkeypatch.setattr(survey, "LEAST", 4)
    _, out, _ = label(site.config, "--until", "0.5", keys="")
    assert "The estimate is as tight as asked: precision and recall to ±0.5." in out
    monkeypatch.setattr(Survey, "plan", lambda self, most: [])
    _, out, _ = label(site.config, keys="")
    assert "Nothing is left to ask" in out


def test_json_lists_pairs_and_stores_nothing(site: Any, label: Label) -> None:
    """--json holds both sides, what differs, histories, weights and the estimate; the index stays as it is."""
    code, out, _ = label(site.config, "--json", "--max", 4)
    found = json.loads(out)

    assert code == 0
    assert len(found["pairs"]) == 4
    assert {"left", "right", "weight", "stands_for", "fields", "histories"} == found["pairs"][0].keys()
    assert found["estimate"]["precision"]["low"] <= found["estimate"]["precision"]["value"]
    assert site.rows("SELECT count(*) FROM verdicts") == [(0,)]


def test_a_file_of_answers_counts_like_keys(site: Any, label: Label) -> None:
    """Rows are stored, open ones left, answered ones refused in one line each; the run folder will do as well."""
    one, two, three = pairs(site, label, 3)
    rows = [
        (one["left"], one["right"], "yes" if site.same(one["left"], one["right"]) else "no"),
        (two["left"], two["right"], ""),
        (three["right"], three["left"], "Unsure"),
        (one["left"], one["right"], "y"),
    ]
    code, out, _ = label(site.folder / "run", "--answers", write(site.folder / "a.csv", rows))

    assert code == 0
    assert "2 of 3 answers stored, 1 left open." in out
    assert "line 5: That pair is answered already: event" in out
    assert site.rows("SELECT answer, stands_for IS NOT NULL FROM labels ORDER BY event")[1] == ("unsure", True)
    _, out, _ = label(site.config, "--answers", write(site.folder / "a.csv", rows[:2]), "--json")
    told = json.loads(out)
    assert (told["stored"], told["of"], told["left_open"], told["refused"][0]["line"]) == (0, 1, 1, 2)
    assert told["estimate"]["answers"] >= 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("left,right\na,b\n", "has no column answer"),
        ("left,right,answer\na,b,perhaps\n", "line 2: the answer is none of y, yes, same"),
        ("left,right,answer\na\n", "line 2: it has fewer columns"),
        ("left,right,answer\nnobody:1,nobody:2,y\n", "line 2: left is not in this run"),
    ],
)
def test_faulty_files_are_refused_whole(site: Any, label: Label, content: str, says: str) -> None:
    """A file that can't be understood is refused with its line, before any of it is stored."""
    path = site.folder / "bad.csv"
    path.write_text(content, encoding="utf-8")
    code, _, err = label(site.config, "--answers", path)

    assert code in (1, 2)
    assert says in err and len(err.strip().splitlines()) == 1
    assert site.rows("SELECT count(*) FROM verdicts") == [(0,)]


def test_without_a_terminal_it_says_what_to_do(site: Any, label: Label) -> None:
    """Where nobody can press a key, one line names the two other ways."""
    code, _, err = label(site.config)

    assert code == 2
    assert "There is no terminal to ask in. List the pairs with --json and give the answers with --answers FILE." in err


def test_an_unfinished_run_is_refused(site: Any, label: Label) -> None:
    """A run that is not published yet, or a folder that is no run, is one clear line."""
    (site.folder / "run" / "manifest.json").write_text('{"base": null, "stages": {}}')
    code, _, err = label(site.config, "--json")
    assert code == 1 and "is not finished. Run the config: resolver run CONFIG" in err
    code, _, err = label(site.folder, "--json")
    assert code == 2 and "is not a run folder" in err


def test_two_at_once_each_get_their_answer(site: Any, label: Label, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that somebody else is writing is waited for a little, and then named in one line."""
    from resolver import files
    from resolver.mpi import store

    monkeypatch.setattr(store, "PATIENCE_SECONDS", 0.2)
    (one,) = pairs(site, label, 1)
    given = write(site.folder / "a.csv", [(one["left"], one["right"], "u")])
    with files.lock(site.index.with_name(site.index.name + ".lock"), f"The index {site.index}"):
        code, _, err = label(site.config, "--answers", given)

    assert code == 1
    assert "in use by process" in err and len(err.strip().splitlines()) == 1
