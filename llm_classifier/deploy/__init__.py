"""Serving what is in production: the manifest that starts vLLM with it, and waiting until it answers as it should.

    manifests.py   Docker compose and KServe, as text
    waiting.py     healthy is who gives the golden logits

Starts nothing by itself and applies nothing to a cluster. Knows nothing of training or of pairs.
"""
