"""vLLM in an environment of its own, since its pins exclude those of training: what makes it, and what runs in it.

install.py   makes the environment, by the lock file beside it (make vllm)
engine.py    an offline engine; runs inside that environment and imports nothing of this package
"""
