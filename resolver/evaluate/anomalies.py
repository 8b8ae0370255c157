"""What is strange about a run, in words, each with what to try next. One function per anomaly.

They read what evaluate found (metrics.json) and nothing else, so that screen, report and --json say the same. Every
threshold stands with its reason. Words name fields, sources and kinds of events, and hold no value of a record.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from resolver.evaluate.groups import NAMES
from resolver.evaluate.symptoms import IDENTIFYING

Metrics = Mapping[str, Any]
Found = dict[str, Any]

# Below this, chance alone does what looks strange.
FEWEST_RECORDS = 50
FEWEST_PAIRS = 50
# Records without a value are no group of people that quality could be compared between.
NO_GROUP = ("unknown", "other")


def find(metrics: Metrics) -> list[Found]:
    """All of them, the gravest kinds first: kind, says, try_next, and what it is about."""
    found: list[Found] = []
    for look in (
        leaked_field,
        leaked_code,
        shared_value,
        lonely_source,
        dominating_field,
        overconfident_by_truth,
        overconfident_by_people,
        estimate_misses_truth,
        splink_disagrees,
        slice_behind,
        drift,
    ):
        found += look(metrics)
    return found


def _anomaly(kind: str, says: str, try_next: str, **about: Any) -> Found:
    return {"kind": kind, "says": says, "try_next": try_next, **about}


# In 1 of 2,000 pairs or fewer no two records disagree, where people write fields down: even birth dates differ in 1 %.
NEVER_WRONG = 0.9995
ELSE_WRONG = 0.98  # what the other identifying fields show of how careful these sources are


def leaked_field(metrics: Metrics) -> Iterator[Found]:
    """An identifying field that is never wrong in matches, where the others are."""
    fields = metrics["symptoms"]["evidence"]["fields"]
    known = {
        name: fields[name] for name in IDENTIFYING if name in fields and fields[name]["compared"] >= 2 * FEWEST_PAIRS
    }
    for name, one in known.items():
        others = [other["agree"] for place, other in known.items() if place != name]
        names = [fields[place]["agree"] for place in ("first_name", "last_name", "street") if place in fields]
        if one["agree"] >= NEVER_WRONG and others + names and statistics.median(others + names) < ELSE_WRONG:
            yield _anomaly(
                "leaked field",
                f"{_field(name)} is the same in {_percent(one['agree'])} of the {one['compared']:,} matches that have"
                f" it on both sides, while other fields are often wrong: it may be an id that the sources share.",
                f'If no one is asked for it at registration, leave it out: fields: {{{name}: ""}} in each source.',
                field=name,
            )


PRIVATE = 0.5  # of the pairs: of real codes 2 % or fewer are shared by nobody but the records of one person


def leaked_code(metrics: Metrics) -> Iterator[Found]:
    """Codes or measured values that most records of a person share and nobody else has."""
    for one in metrics["symptoms"]["private_codes"]:
        if one["pairs"] >= FEWEST_PAIRS and one["share"] >= PRIVATE:
            what = "values of one measurement" if one["one_code"] else f"{one['kind']} codes"
            yield _anomaly(
                "leaked code",
                f"{what} ({one['system']}) give people away: {_percent(one['share'])} of the {one['pairs']:,} pairs of"
                " one person that have them share one that nobody else has, so they may hold an id or a serial number.",
                "Look at them: resolver explain CONFIG A B shows what two records share. If it is an id, take that"
                " table or code out of the source.",
                event_kind=one["kind"],
                system=one["system"],
            )


MANY = 10  # people with one value: twins and households are fewer
SHARE = 0.01  # of the source's values: a birth date is shared by 1 in 10,000
TIMES = 5  # more than elsewhere


def shared_value(metrics: Metrics) -> Iterator[Found]:
    """One value that many people of a source have: what a program writes where it knows none."""
    for one in metrics["symptoms"]["shared_values"]:
        often = one["elsewhere"] is None or one["share"] >= TIMES * one["elsewhere"] or one["elsewhere"] >= SHARE
        if one["people"] >= MANY and one["share"] >= SHARE and often:
            yield _anomaly(
                "shared value",
                f"One {_field(one['field'])} stands in {_percent(one['share'])} of the records of {one['source']}, of"
                f" about {one['people']:,} different people: it may mean unknown.",
                "The report shows the value. If it means unknown, add it to ingest.placeholders and run again.",
                field=one["field"],
                source=one["source"],
            )


ALONE = 1 / 3  # of what the other sources find: facilities of one region differ by less than half
CLEAR = 0.2  # less than the others, in records


def lonely_source(metrics: Metrics) -> Iterator[Found]:
    """A source whose records match nobody, or far fewer than others."""
    sources = [one for one in metrics["symptoms"]["sources"] if one["records"] >= FEWEST_RECORDS]
    if len(sources) < 2:
        return
    for one in sources:
        usual = statistics.median(other["found_elsewhere"] for other in sources if other is not one)
        here = one["found_elsewhere"]
        if here <= ALONE * usual and usual - here >= CLEAR:
            much = "None" if not here else f"Only {_percent(here)}"
            yield _anomaly(
                "lonely source",
                f"{much} of the {one['records']:,} records of {one['source']} found a person in another source; of the"
                f" others' it is {_percent(usual)}.",
                "See whether its columns mean what the config says: resolver check CONFIG. Then ask why two records"
                " that should match do not: resolver explain CONFIG A B.",
                source=one["source"],
            )


MOST = 0.5  # of the evidence: on healthy data no field brings more than a fifth


def dominating_field(metrics: Metrics) -> Iterator[Found]:
    """A field, or the histories, that bring most of the evidence."""
    evidence = metrics["symptoms"]["evidence"]
    if evidence["matches"] >= 2 * FEWEST_PAIRS:
        for name, one in evidence["fields"].items():
            if one["share"] >= MOST:
                yield _anomaly(
                    "dominating field",
                    f"{_field(name)} alone brings {_percent(one['share'])} of the demographic evidence for the"
                    " matches: where it is wrong, nothing makes up for it.",
                    "Fill more fields (resolver check CONFIG shows how full they are), or see what a run without it"
                    f' is worth: fields: {{{name}: ""}}.',
                    field=name,
                )
    histories = metrics["symptoms"]["histories"]
    if histories["pairs"] >= 2 * FEWEST_PAIRS and histories["clinical"] > max(histories["demographics"], 1.0):
        yield _anomaly(
            "dominating histories",
            f"Clinical histories bring {histories['clinical']:.1f} of the log-odds of matches and demographics"
            f" {histories['demographics']:.1f}: the matches rest on the histories.",
            "See that the histories hold no id (leaked code), and that demographic columns are read: resolver check"
            " CONFIG.",
        )


SURE_TIMES = 3  # more wrong than promised
SURE_FEWEST = 20  # wrong pairs, since those of one person come together
SURE_GAP = 0.005  # of the pairs


def overconfident_by_truth(metrics: Metrics) -> Iterator[Found]:
    """Pairs called sure that the truth calls wrong, far more than promised."""
    for tier, right in (("match", True), ("non-match", False)):
        one = metrics["tiers"].get(tier, {})
        if not one.get("pairs") or "true" not in one:
            continue
        known = one["true"] / one["share_true"] if one["share_true"] else one["pairs"]
        wrong = known - one["true"] if right else one["true"]
        promised = one["pairs"] - one["expected_true"] if right else one["expected_true"]
        base = known if right else max(metrics["pairs"]["after_clustering"]["true"], 1)
        if wrong >= SURE_FEWEST and wrong >= SURE_TIMES * promised and (wrong - promised) / base >= SURE_GAP:
            yield _anomaly(
                "overconfident",
                f"Of the pairs called a {tier}, {wrong:,.0f} are wrong by the truth; {promised:,.0f} were promised.",
                "Let the judges learn from this data: learn.way: unlabelled, or resolver train on populations like it.",
                tier=tier,
            )


PEOPLE_FEWEST = 3  # answers against the judges: one or two may be slips
PEOPLE_SLIPS = 0.05  # of the answers, which people get wrong themselves


def overconfident_by_people(metrics: Metrics) -> Iterator[Found]:
    """Pairs that the judges were sure of and people decided otherwise."""
    one = metrics["symptoms"]["people"]
    expected = one["promised"] + PEOPLE_SLIPS * one["sure"]
    if one["wrong"] >= max(PEOPLE_FEWEST, SURE_TIMES * expected):
        yield _anomaly(
            "overconfident",
            f"Of {one['sure']:,} pairs that the judges were sure of, people decided {one['wrong']:,} otherwise.",
            "Answer more pairs (resolver label CONFIG), and let judges learn from this data: learn.way: unlabelled.",
        )


ESTIMATE_GAP = 0.005  # beyond the interval, which is one of 95 %


def estimate_misses_truth(metrics: Metrics) -> Iterator[Found]:
    """The quality estimated without truth is better than what the truth says."""
    if "pairs" not in metrics:
        return
    after, guess = metrics["pairs"]["after_clustering"], metrics["estimated"]
    true = {"precision": after["precision"], "recall": after["recall"]}
    found = metrics["blocking"].get("recall")
    if true["recall"] is not None and found:
        # The estimate is of scored pairs, and knows nothing of those that blocking lost.
        true["recall"] = min(1.0, true["recall"] / found)
    for name, value in true.items():
        interval = guess["intervals"].get(name)
        if value is not None and interval and value < interval[0] - ESTIMATE_GAP:
            yield _anomaly(
                "estimate too good",
                f"The {name} estimated without truth ({interval[0]:.4f} to {interval[1]:.4f}) is better than what the"
                f" truth says, {value:.4f}: on data like this the estimate is not to be trusted.",
                "Measure with answers of people instead: resolver label CONFIG.",
                figure=name,
            )


REFUSED = 0.25  # of Splink's sure pairs: on broken data up to a tenth are look-alikes that the judges see through
UNSEEN = 0.25  # of the judges' sure pairs


def splink_disagrees(metrics: Metrics) -> Iterator[Found]:
    """Splink and the judges are both sure, and of the opposite, too often for both to be sane."""
    one = metrics["symptoms"]["splink"]
    for count, of, most, says in (
        (one["refused"], one["sure"], REFUSED, "pairs that Splink is sure of, the judges are sure that {} are wrong"),
        (
            one["unseen"],
            one["judged_sure"],
            UNSEEN,
            "matches that the judges are sure of, Splink is sure that {} are none",
        ),
    ):
        if of >= 2 * FEWEST_PAIRS and count >= most * of:
            yield _anomaly(
                "judges disagree",
                f"Of {of:,} {says.format(f'{count:,}')}.",
                "Look at some of them (resolver explain CONFIG --doubtful), and compare with learn.way: none.",
            )


BEHIND = 0.01  # of F1, or of its estimate: less is not worth a search
ODDS = 3.0  # standard errors: with some 25 groups, chance alone comes near
ESTIMATED_BEHIND = 0.02  # the estimate by group is rougher than the truth


def slice_behind(metrics: Metrics) -> Iterator[Found]:
    """A group of people whose records are matched worse than the others'."""
    truth = "slices" in metrics
    for name in NAMES:
        values = (metrics["slices"] if truth else metrics["estimated_slices"]).get(name, {})
        for value, one in values.items():
            others = [other for place, other in values.items() if place != value and place not in NO_GROUP]
            if value in NO_GROUP or not others or one["records"] < FEWEST_RECORDS:
                continue
            for figure, of in (("precision", "predicted"), ("recall", "true")):
                here, weight = one[figure], one[of]
                known = [other for other in others if other[figure] is not None]
                rest = sum(other[of] for other in known)
                if here is None or not weight or not rest:
                    continue
                usual = sum(other[figure] * other[of] for other in known) / rest
                # Pairs of one person go wrong together, so persons count and not pairs.
                mean = (usual * rest + here * weight) / (rest + weight)
                sizes = min(weight, one["persons"]), min(rest, sum(other["persons"] for other in known))
                error = math.sqrt(max(mean * (1 - mean), 1e-4) * sum(1 / size for size in sizes))
                gap = usual - here
                if gap >= (BEHIND if truth else ESTIMATED_BEHIND) and gap >= ODDS * error:
                    yield _anomaly(
                        "slice behind",
                        f"{name.replace('_', ' ')} {value}: {'' if truth else 'estimated '}{figure} {here:.4f}, where"
                        f" the others have {usual:.4f} ({one['records']:,} records).",
                        "See how full and how valid its fields are (resolver check CONFIG), and let people decide the"
                        " doubtful pairs: resolver label CONFIG.",
                        slice=name,
                        value=value,
                        figure=figure,
                    )


# Against the last run: what changes from night to night is far less.
MISSING = 0.1  # of the records, for a field that was filled or empty before
LINKED = 0.05  # of the records, in persons of several records
PER_PERSON = 0.1  # of the number before
FEWER = 0.2  # of a source's records
SHIFTED = 0.25  # population stability index of the scores; from .25 on it is commonly called another population


def drift(metrics: Metrics) -> Iterator[Found]:
    """What this run has other than the last one in the index."""
    now, before = metrics["profile"]["now"], metrics["profile"]["before"]
    if not now or not before or min(now["records"], before["records"]) < 2 * FEWEST_RECORDS:
        return
    last = f"in {metrics['profile']['run_before']}"
    check = (
        "See what the sources hold now: resolver check CONFIG. If it is right, link everything anew:"
        " resolver run CONFIG --full. If it is wrong, take the run back: resolver mpi undo."
    )
    for name, missing in now["missing"].items():
        was = before["missing"].get(name, missing)
        if abs(missing - was) >= MISSING:
            yield _drift(
                f"{_field(name)} is missing in {_percent(missing)} of the records, {last} in {_percent(was)}.", check
            )
    for source, was in before["sources"].items():
        here = now["sources"].get(source, 0)
        if was >= FEWEST_RECORDS and here <= (1 - FEWER) * was:
            yield _drift(f"{source} has {here:,} records, {last} {was:,}.", check)
    same_sources = now["sources"].keys() == before["sources"].keys()
    again = "If the sources are as they should be, link everything anew: resolver run CONFIG --full."
    if not same_sources:
        return  # another source is another number of matches
    if abs(now["linked"] - before["linked"]) >= LINKED:
        yield _drift(
            f"{_percent(now['linked'])} of the records share a person with another one, {last}"
            f" {_percent(before['linked'])}.",
            again,
        )
    if abs(now["per_person"] - before["per_person"]) >= PER_PERSON * before["per_person"]:
        yield _drift(
            f"A person has {now['per_person']:.2f} records on average, {last} {before['per_person']:.2f}.", again
        )
    shift = sum(
        (one - other) * math.log((one + 1e-3) / (other + 1e-3))
        for one, other in zip(now["scores"], before["scores"], strict=True)
    )
    if shift >= SHIFTED:
        yield _drift(f"The scores of the pairs are spread otherwise than {last} (stability index {shift:.2f}).", again)


def _drift(says: str, try_next: str) -> Found:
    return _anomaly("drift", says, try_next)


def _field(name: str) -> str:
    return name.replace("_", " ").replace("ssn", "SSN")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.9995 or share == 1 else "over 99.9 %"
