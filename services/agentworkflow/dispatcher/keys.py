"""API keys as settings hold them, and where the API may be served without any. Light: no HTTP."""

import hashlib
import ipaddress
from collections.abc import Iterable
from typing import Final

from agentworkflow.dispatcher.settings import ApiKey, Settings

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
    return ApiKey(name, digest_of(key), opened)


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


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()
