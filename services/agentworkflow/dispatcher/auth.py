"""Who may use the API port: keys, what a key opens, and where it may be served without any."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final

from agentworkflow.dispatcher.problems import Refused
from agentworkflow.dispatcher.settings import ApiKey, Settings

ANONYMOUS: Final = ApiKey(name="anonymous", digest=b"")
"""Every caller, where there are no keys."""

_MIN_KEY_LENGTH: Final = 16


class UnsafeAddressError(ValueError):
    """Others could reach the API without a key."""


class ApiKeyError(ValueError):
    """A line that should define a key does not."""


def parse_api_key(line: str) -> ApiKey:
    """A key from its line `name:key` or `name:key:namespace,namespace`.

    Raises:
        ApiKeyError: the line has another form, or the key is short enough to be guessed.
    """
    name, _, rest = line.strip().partition(":")
    key, _, namespaces = rest.partition(":")
    if not name or not key:
        raise ApiKeyError(
            f"the API key {name or '?'} has no key: write name:key or name:key:namespace,namespace"
        )
    if len(key) < _MIN_KEY_LENGTH:
        raise ApiKeyError(
            f"the API key {name} has {len(key)} characters, which can be guessed: "
            f"take {_MIN_KEY_LENGTH} or more, as `openssl rand -hex 24` prints them"
        )
    opened = frozenset(filter(None, (each.strip() for each in namespaces.split(","))))
    return ApiKey(name, _digest(key), opened)


def parse_api_keys(lines: Iterable[str]) -> tuple[ApiKey, ...]:
    """Keys, one per line; empty lines and `#` comments are left out. Raises ApiKeyError."""
    return tuple(
        parse_api_key(line) for line in lines if line.strip() and not line.lstrip().startswith("#")
    )


def require_safe_address(settings: Settings) -> None:
    """Refuse to serve without keys where others can reach the port.

    Raises:
        UnsafeAddressError: says what to set.
    """
    if settings.api_keys or settings.insecure_no_auth or is_loopback(settings.host):
        return
    raise UnsafeAddressError(
        f"the API would be open to everyone who reaches {settings.host}:{settings.port}: "
        "give it keys (--api-keys FILE), bind it to 127.0.0.1, or say --insecure-no-auth"
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine. No name is resolved."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


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
        digest = _digest(presented)
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


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _unauthorized(detail: str) -> Refused:
    return Refused(
        401,
        "A key is needed",
        detail,
        reason="Unauthorized",
        headers={"www-authenticate": 'Bearer realm="agentworkflow"'},
    )
