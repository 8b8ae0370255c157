"""Counts right and wrong, record by record, in numpy: every pair figure is a sum over records, halved.

Knows nothing of files, and nothing of what a slice is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Records:
    """Records that the truth knows, with the size of their groups."""

    rid: Ints
    person: Ints  # numbered without gaps
    cluster: Ints  # numbered without gaps
    in_person: Ints  # records of the same person
    in_cluster: Ints  # records of the same cluster
    in_both: Ints  # records of the same person and cluster
    persons: int
    clusters: int


def lay(person: Ints, cluster: Ints) -> Records:
    """`person` is -1 for records to leave out."""
    rid = np.flatnonzero(person >= 0)
    _, who = np.unique(person[rid], return_inverse=True)
    _, group = np.unique(cluster[rid], return_inverse=True)
    persons, clusters = (int(one.max()) + 1 if len(one) else 0 for one in (who, group))
    _, both, shared = np.unique(who * max(clusters, 1) + group, return_inverse=True, return_counts=True)
    return Records(
        rid,
        who,
        group,
        np.bincount(who, minlength=persons)[who],
        np.bincount(group, minlength=clusters)[group],
        shared[both],
        persons,
        clusters,
    )


def score(right: float, predicted: float, true: float) -> dict[str, Any]:
    """Precision, recall and F1; null where there is nothing to divide by."""
    precision = right / predicted if predicted else None
    recall = right / true if true else None
    both = predicted + true
    return {
        "precision": _short(precision),
        "recall": _short(recall),
        "f1": _short(2 * right / both if both else None),
        "right": _count(right),
        "true": _count(true),
        "predicted": _count(predicted),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _count(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def of_clusters(records: Records) -> dict[str, Any]:
    """How persons and clusters fit.

    split: persons in several clusters. impure: clusters that hold several persons. perfect_rate: share of the persons
    that are one cluster with nobody else in it. purity: share of the records that belong to the person that most of
    their cluster belongs to. completeness: share of the records that lie in the cluster with most of their person.
    bcubed: over records, how much of their cluster is their person, and how much of their person is in their cluster.
    """
    count = len(records.rid)
    if not count:
        return {}
    split = len(np.unique(records.person[records.in_both < records.in_person]))
    impure = len(np.unique(records.cluster[records.in_both < records.in_cluster]))
    sums = {name: float(values.sum()) for name, values in person_sums(records).items()}
    precision, recall = sums["bcubed_precision"] / count, sums["bcubed_recall"] / count
    return {
        "true_persons": records.persons,
        "split": split,
        "impure": impure,
        "perfect_rate": _short(sums["perfect"] / records.persons),
        "completeness": _short(sums["complete"] / count),
        "purity": _short(sums["pure"] / count),
        "bcubed": {
            "precision": _short(precision),
            "recall": _short(recall),
            "f1": _short(2 * precision * recall / (precision + recall)),
        },
    }


def person_sums(records: Records) -> dict[str, Floats]:
    """What each person adds to the figures of clusters and of pairs after clustering."""
    per = records.persons
    who = records.person
    # The first record, in order, of those that share person and cluster with most others stands for the majority.
    in_main = _is_largest(who, records.cluster, records.in_both, per)
    is_main = _is_largest(records.cluster, who, records.in_both, records.clusters)
    perfect = (records.in_both == records.in_person) & (records.in_both == records.in_cluster)

    def over(values: npt.NDArray[Any]) -> Floats:
        return np.bincount(who, weights=values, minlength=per).astype(np.float64)

    return {
        "persons": np.ones(per),
        "records": over(np.ones(len(who))),
        "true": over((records.in_person - 1) / 2),
        "after_right": over((records.in_both - 1) / 2),
        "after_predicted": over((records.in_cluster - 1) / 2),
        "perfect": over(perfect / records.in_person).round(),
        "complete": over(in_main),
        "pure": over(is_main),
        "bcubed_precision": over(records.in_both / records.in_cluster),
        "bcubed_recall": over(records.in_both / records.in_person),
    }


def _is_largest(group: Ints, part: Ints, size: Ints, groups: int) -> npt.NDArray[np.bool_]:
    """Per record, whether its part is the largest of its group; of equal parts, the one with the smallest number."""
    order = np.lexsort((part, -size, group))
    first = order[np.concatenate(([True], group[order][1:] != group[order][:-1]))] if len(order) else order
    winner = np.full(groups, -1, dtype=np.int64)
    winner[group[first]] = part[first]
    return np.asarray(winner[group] == part, dtype=bool)


def by_value(records: Records, values: npt.NDArray[Any], names: list[str], most: int = 50) -> dict[str, Any]:
    """Pairs after clustering by a property of records; a pair counts half for each of its records.

    `values` numbers each record's value in `names`. Where there are more than `most` names, the largest are kept.
    """
    code = values[records.rid]
    size = np.bincount(code, minlength=len(names))
    sums = {
        name: np.bincount(code, weights=(column - 1) / 2, minlength=len(names))
        for name, column in (
            ("right", records.in_both),
            ("predicted", records.in_cluster),
            ("true", records.in_person),
        )
    }
    persons = np.bincount(
        np.unique(records.person * max(len(names), 1) + code) % max(len(names), 1), minlength=len(names)
    )
    largest = np.argsort(-size, kind="stable")[:most]
    keep = sorted(int(one) for one in largest if size[one])
    return {
        names[one]: {
            "records": int(size[one]),
            "persons": int(persons[one]),
            **score(float(sums["right"][one]), float(sums["predicted"][one]), float(sums["true"][one])),
        }
        for one in keep
    }
