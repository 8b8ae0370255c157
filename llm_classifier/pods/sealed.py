"""Files as they lie at a bridge: encrypted with the job's own key, and bound to their job and name.

Whoever can read the bridge sees sizes and times, nothing else; whoever can write to it can delete, but not alter or
swap, without being found out.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from llm_classifier.needs import need
from resolver.errors import DamagedError

NONCE = 12
KEY = 32


def new_key() -> bytes:
    return secrets.token_bytes(KEY)


def seal(key: bytes, job: str, name: str, content: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE)
    return nonce + _cipher(key).encrypt(nonce, content, _bound(job, name))


def unseal(key: bytes, job: str, name: str, sealed: bytes) -> bytes:
    invalid = need("cryptography.exceptions").InvalidTag
    try:
        return bytes(_cipher(key).decrypt(sealed[:NONCE], sealed[NONCE:], _bound(job, name)))
    except (invalid, ValueError):
        raise DamagedError(
            f"{name} at the bridge was not written by job {job[:12]}, or was altered or cut since."
        ) from None


def name_of(key: bytes, content: bytes) -> str:
    """A name by content, which tells nothing of it to anybody without the key."""
    return hmac.digest(key, content, "sha256").hex()[:32]


def _bound(job: str, name: str) -> bytes:
    return f"{job}/{name}".encode()


def _cipher(key: bytes) -> Any:
    return need("cryptography.hazmat.primitives.ciphers.aead").AESGCM(key)
