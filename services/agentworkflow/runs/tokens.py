"""What a run derives from its secret: the token of each attempt, and the jitter of each retry.

A run draws the secret at its start. An answer without the token of the current attempt changes
nothing, so redelivery, zombies and forged answers are harmless.
"""

import base64
import hashlib
import hmac
from typing import Final

_TOKEN_BYTES: Final = 18


def token_of(secret: str, step: str, item: int | None, attempt: int) -> str:
    """The token of one attempt: 24 characters, URL-safe."""
    digest = _digest(secret, "token", step, item, attempt)
    return base64.urlsafe_b64encode(digest[:_TOKEN_BYTES]).decode()


def is_token_of(token: str, secret: str, step: str, item: int | None, attempt: int) -> bool:
    """Whether a token belongs to an attempt, compared in constant time."""
    expected = token_of(secret, step, item, attempt)
    return hmac.compare_digest(token.encode(errors="replace"), expected.encode())


def jitter_of(secret: str, step: str, item: int | None, attempt: int) -> float:
    """A number in [0, 1) that looks random and is the same each time it is asked for."""
    digest = _digest(secret, "jitter", step, item, attempt)
    return int.from_bytes(digest[:7], "big") / 2**56


def _digest(secret: str, use: str, step: str, item: int | None, attempt: int) -> bytes:
    message = f"{use}|{step}|{'' if item is None else item}|{attempt}"
    return hmac.digest(secret.encode(), message.encode(), hashlib.sha256)
