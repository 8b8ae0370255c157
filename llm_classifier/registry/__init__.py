"""A local registry of models: numbered versions, what each scored, and every decision about them with its reason.

    metrics.py   what a model scored on a pinned test set, and per slice
    history.py   the decisions, one line each, append-only and chained; the state is what they add up to
    store.py     versions on disk; promotion and rollback
    gate.py      whether a version may take the place of the one in production
    bias.py      whether a slice falls behind the others
    views.py     what people and scripts are shown

Nothing here loads a model: it works without torch.
"""
