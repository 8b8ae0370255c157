"""What clustering made of a pair: one person or two, and why, where the pair's own log-odds did not decide.

Reads `clusters`, `cuts` and the decisions inside one person. Knows nothing of features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from resolver.explain import words
from resolver.explain.opened import Opened, Row
from resolver.explain.ties import Ties

MOST = 1_000  # records of a person among which ways and bridges are sought


@dataclass(frozen=True)
class Outcome:
    together: bool
    why: str  # in a sentence
    sizes: tuple[int, int]  # records of the person that each record is in
    persons: tuple[str | None, str | None]  # enterprise ids as the index has them now
    between: float | None = None  # log-odds of all pairs between the two persons, where that parted them
    way: tuple[str, ...] = ()  # record ids on the strongest way from one to the other, where others hold them together

    def turned(self) -> Outcome:
        return replace(self, sizes=self.sizes[::-1], persons=self.persons[::-1], way=self.way[::-1])


def outcome(run: Opened, sides: dict[int, Row], logit: float | None) -> Outcome:
    """`sides` are the two records by rid; `logit` is the pair's own, None where it was never scored."""
    low, high = sorted(sides)
    clusters = run.clusters([low, high])
    members = run.members(sorted(set(clusters.values())))
    ids = {rid: str(row["record_id"]) for rid, row in sides.items()}
    persons = run.persons_of(list(ids.values()))
    result = Outcome(
        together=clusters[low] == clusters[high],
        why="",
        sizes=(len(members[clusters[low]]), len(members[clusters[high]])),
        persons=(persons.get(ids[low]), persons.get(ids[high])),
    )
    if result.together:
        return _together(run, low, high, logit, members[clusters[low]], result)
    cut = run.rows("SELECT between, reason FROM cuts WHERE left_rid = ? AND right_rid = ?", [low, high])
    if cut:
        between = float(cut[0]["between"])
        return replace(
            result,
            between=between,
            why=f"Two persons, though the pair's own log-odds would link them: {cut[0]['reason']}."
            f" All pairs between the two persons add up to {words.signed(between)}{halved(run)}.",
        )
    if logit is None:
        cost = run.settings.cluster.unscored_logit
        return replace(result, why=f"Two persons. A pair that was never scored counted {words.signed(cost)}.")
    return replace(result, why="Two persons: the pair's own log-odds speak against it.")


def halved(run: Opened) -> str:
    """What to say beside a sum of pairs."""
    against = run.settings.cluster.against
    return "" if against == 1 else f", where what speaks against counts {against:g} of what it is"


def _together(run: Opened, low: int, high: int, logit: float | None, records: list[int], result: Outcome) -> Outcome:
    if logit is not None and logit > 0:
        many = f" with {result.sizes[0] - 2:,} other records" if result.sizes[0] > 2 else ""
        return replace(result, why=f"One person{many}: the pair's own log-odds speak for it.")
    own = "was never scored" if logit is None else "speaks against it"
    if len(records) > MOST:
        return replace(result, why=f"One person of {len(records):,} records: the pair {own}, others hold it together.")
    ties = Ties.of(run, records)
    way, weakest = ties.strongest_way(low, high)
    named = run.names(way)
    return replace(
        result,
        way=tuple(named[rid][0] for rid in way),
        why=f"One person of {len(records):,} records: the pair {own}, but others hold it together. The strongest way"
        f" goes over {len(way) - 2} other record{'s' if len(way) != 3 else ''}; its weakest step has"
        f" {words.signed(weakest)}.",
    )
