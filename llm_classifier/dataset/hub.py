"""The copy of a data set on a private hub: uploaded in one commit, pinned by its id.

Knows nothing of what is in a data set.
"""

from __future__ import annotations

from typing import Any

from llm_classifier import hub
from llm_classifier.dataset.card import FILE, SPLITS, Dataset
from llm_classifier.needs import need
from resolver import files
from resolver.errors import ResolverError

PUSHED = "hub.json"  # beside dataset.json: where the copy is


def push(dataset: Dataset, repository: str) -> dict[str, Any]:
    """Upload the data set and say which commit holds it: {repository, commit, pin}."""
    added = need("huggingface_hub").CommitOperationAdd
    api = hub.api(hub.token())
    try:
        head = hub.private_head(api, repository, "dataset.hub")
        names = ["README.md", FILE, *(f"data/{split}.parquet" for split in SPLITS)]
        commit = api.create_commit(
            repo_id=repository,
            repo_type=hub.KIND,
            operations=[added(name, str(dataset.folder / name)) for name in names],
            commit_message=f"Data set {dataset.pin}",
            parent_commit=head,
        )
    except ResolverError:
        raise
    except Exception as error:  # noqa: BLE001 the library raises whatever its HTTP client does, with the request in it
        raise hub.told(error, repository) from None
    pinned = {"repository": repository, "commit": str(commit.oid), "pin": dataset.pin}
    files.write_json(dataset.folder / PUSHED, pinned)
    return pinned
