"""Who a request comes from, and what its key opens."""

import hmac
from collections.abc import Mapping
from typing import Final

from agentworkflow.dispatcher.keys import digest_of
from agentworkflow.dispatcher.problems import Refused
from agentworkflow.dispatcher.settings import ApiKey

ANONYMOUS: Final = ApiKey(name="anonymous", digest=b"")
"""Every caller, where there are no keys."""


class Keyring:
    """The keys of one dispatcher."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self._keys = keys

    @property
    def is_empty(self) -> bool:
        """Whether everyone is let in."""
        return not self._keys

    def identify(self, headers: Mapping[str, str]) -> ApiKey:
        """The key that a request carries in `Authorization: Bearer` or `X-API-Key`.

        Raises:
            Refused: 401.
        """
        if not self._keys:
            return ANONYMOUS
        presented = _presented(headers)
        if not presented:
            raise _unauthorized("Send a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        digest = digest_of(presented)
        # Every key is compared, so that the time says nothing about which one is near.
        found = [key for key in self._keys if hmac.compare_digest(key.digest, digest)]
        if not found:
            raise _unauthorized("No such key.")
        return found[0]


def require_namespace(key: ApiKey, namespace: str) -> None:
    """Refuse a namespace that a key does not open.

    Raises:
        Refused: 403.
    """
    if key.namespaces and namespace not in key.namespaces:
        raise Refused(
            403,
            "Not your namespace",
            f"The key {key.name} does not open the namespace {namespace}.",
            reason="Forbidden",
        )


def _presented(headers: Mapping[str, str]) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def _unauthorized(detail: str) -> Refused:
    return Refused(
        401,
        "A key is needed",
        detail,
        reason="Unauthorized",
        headers={"www-authenticate": 'Bearer realm="agentworkflow"'},
    )
