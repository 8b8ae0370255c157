"""Which pairs are asked, and that what people said is taken in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from resolver.errors import RunError, UsageError
from resolver.evaluate import standing
from resolver.explain.opened import Opened
from resolver.label.sides import compare, lay
from resolver.label.survey import Survey
from resolver.mpi import labels, store, undo


def say(survey: Survey, asked: labels.Asked, answer: labels.Answer) -> int:
    event = labels.put(survey.index, None, lambda change: labels.answer(change, survey.run_id, asked, answer))
    survey.hear()
    return event


def test_weights_add_up_to_the_pairs_of_persons(opened: Opened) -> None:
    """The questions about linked records stand for every pair inside persons, once."""
    standing.lay(opened.con, "decisions", "clusters")
    ((weight,),) = opened.con.execute("SELECT sum(weight) FROM standing WHERE together").fetchall()
    sizes = opened.con.execute("SELECT count(*) FROM clusters GROUP BY cluster").fetchnumpy()["count_star()"]

    assert weight == (sizes * (sizes - 1) // 2).sum()
    ((astray,),) = opened.con.execute(
        """SELECT count(*) FROM standing JOIN clusters l ON l.rid = left_rid JOIN clusters r ON r.rid = right_rid
            WHERE together <> (l.cluster = r.cluster) OR left_rid >= right_rid"""
    ).fetchall()
    assert astray == 0


def test_every_question_comes_up_once(opened: Opened) -> None:
    """A plan of all questions holds each pair once, and says for how many of its kind each speaks."""
    survey = Survey(opened)
    plan = survey.plan(10_000)

    assert len(plan) == len(survey.left) == len({(one.left, one.right) for one in plan})
    assert all(one.stands_for is not None and one.stands_for >= 1 for one in plan)
    assert [one.left for one in plan[:5]] == [one.left for one in Survey(opened).plan(5)]
    # Open pairs before sure ones.
    assert np.mean([abs(one.logit) for one in plan[:10]]) < np.mean([abs(one.logit) for one in plan])


def test_samples_of_a_stratum_are_fair(opened: Opened) -> None:
    """Over many seeds, the share of right pairs among the first of a stratum is that of the stratum, by weight."""
    surveys = [Survey(opened, seed) for seed in range(8)]
    stratum = int(np.argmax(np.bincount(surveys[0].stratum)))
    first, whole = [], []
    for survey in surveys:
        own = np.flatnonzero(survey.stratum == stratum)
        first += survey.logit[own[: len(own) // 4]].tolist()
        whole.append(np.average(survey.logit[own], weights=survey.weight[own]))

    assert np.mean(first) == pytest.approx(np.mean(whole), abs=0.8)


def test_answers_are_verdicts_with_their_event(site: Any, opened: Opened) -> None:
    """An answer is a verdict of a person in the index, with the event that says who and when, and counts at once."""
    survey = Survey(opened)
    asked = next(one for one in survey.plan(50) if one.together)
    event = say(survey, asked, "same")

    assert site.rows("SELECT left_record, right_record, says, event FROM verdicts") == [
        (*sorted((asked.left, asked.right)), "link", event)
    ]
    assert site.rows(f"SELECT kind, why FROM events WHERE event = {event}") == [("linked", None)]
    assert survey.strata.known_same.sum() >= 1
    assert (asked.left, asked.right) not in {(one.left, one.right) for one in survey.plan(10_000)}


def test_undone_answers_count_no_more(opened: Opened) -> None:
    """Taking an answer back by its event puts the question where it was."""
    survey = Survey(opened)
    before = survey.plan(3)
    event = say(survey, before[0], "different")
    labels.put(survey.index, None, lambda change: undo.undo(change, event))
    survey.hear()

    assert survey.plan(3) == before
    assert survey.strata.drawn.sum() == 0


def test_unsure_is_kept_and_not_asked_again(site: Any, opened: Opened) -> None:
    """Unsure is an event without a verdict; nobody is asked again, and it counts for nothing."""
    survey = Survey(opened)
    asked = survey.next()
    assert asked is not None
    say(survey, asked, "unsure")

    assert site.rows("SELECT count(*) FROM verdicts") == [(0,)]
    assert site.rows("SELECT kind FROM events ORDER BY event DESC LIMIT 1") == [("unsure",)]
    assert asked not in Survey(opened).plan(10_000)
    assert survey.strata.drawn.sum() == 0


def test_what_follows_is_not_asked(opened: Opened) -> None:
    """Two answers that settle a third pair settle it without a question."""
    survey = Survey(opened)
    rids = opened.con.execute(
        "SELECT list(rid ORDER BY rid) FROM clusters GROUP BY cluster HAVING count(*) >= 3 ORDER BY 1 LIMIT 1"
    ).fetchall()[0][0]
    one, two, three = rids[:3]
    for left, right in ((one, two), (two, three)):
        say(survey, survey.asked(left, right), "same")
    names = opened.names([one, three])

    assert {names[one][0], names[three][0]} not in [{each.left, each.right} for each in survey.plan(10_000)]


def test_answers_about_an_earlier_run_still_tell(site: Any, opened: Opened) -> None:
    """After another run is published, what was said of pairs promised as much counts for the estimate."""
    survey = Survey(opened)
    for asked in survey.plan(5):
        say(survey, asked, "same" if asked.together else "different")
    heard = labels.hear(site.index, "R2")

    assert len(heard.earlier) == 5
    assert labels.hear(site.index, survey.run_id).earlier == []
    survey.take(heard)
    assert survey.strata.drawn.sum() >= 10 - 1


def test_changed_records_and_answered_pairs_are_refused(site: Any, opened: Opened) -> None:
    """A pair that somebody answered meanwhile, or whose record changed since, is refused in one line."""
    survey = Survey(opened)
    first, second = survey.plan(2)
    say(survey, first, "different")
    with pytest.raises(UsageError, match="answered already: event"):
        say(survey, first, "same")
    with store.write(site.index) as change:
        change.con.execute("UPDATE all_records SET content_hash = 'other' WHERE record_id = ?", [second.left])
    with pytest.raises(UsageError, match="changed since the run"):
        say(survey, second, "same")


def test_another_run_in_the_index_is_refused(site: Any, opened: Opened) -> None:
    """The index of a later run can't be labelled from an older folder."""
    with store.write(site.index) as change:
        change.con.execute("UPDATE runs SET content = 'other'")

    with pytest.raises(RunError, match="The index holds the run R1, which is not the one in"):
        Survey(opened)


def test_values_are_compared_letter_by_letter() -> None:
    """What differs is found where it is; values without a letter in common are just different."""
    assert compare("last name", "MEYER", "MEIER").state == "near"
    assert compare("last name", "MEYER", "MEIER").differing == (((2, 3),), ((2, 3),))
    assert compare("last name", "MEYER", "ROSSI").state == "differs"
    assert compare("last name", "MEYER", "—").state == "missing"
    assert compare("last name", "MEYER", "MEYER").state == "same"


def test_sides_leave_the_opinion_of_the_run_out(opened: Opened) -> None:
    """Two records side by side: fields that one of them has, and histories; no log-odds."""
    asked = Survey(opened).plan(1)[0]
    shown = lay(opened, asked.left, asked.right)

    assert (shown.left, shown.right) == (asked.left, asked.right)
    assert {"first name", "last name"} <= {row.about for row in shown.rows}
    assert not {"house number", "last four of the SSN"} & {row.about for row in shown.rows}
    assert "conditions" in {about for about, *_ in shown.histories}
