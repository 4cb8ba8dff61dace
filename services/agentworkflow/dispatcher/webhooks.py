"""Where a webhook may go, and how it is signed (Standard Webhooks 1.0).

A webhook's URL comes from a client, so it could point anywhere: at this machine, at the cloud's
metadata service, at a neighbour. Only hosts that the settings name are taken; their names are
resolved once per delivery, private addresses are refused, and that very address is called.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from agentworkflow.dispatcher.problems import Refused
from agentworkflow.dispatcher.settings import Settings

_PORTS: Final = {"http": 80, "https": 443}
_MAX_URL: Final = 2048
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the scheme's prefix, not a secret
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookSecretError(ValueError):
    """The signing secret cannot be used."""


class ForbiddenAddressError(Exception):
    """A webhook's host is not allowed, or resolves to addresses that are not."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A webhook's URL with the address that its name has at this moment.

    Attributes:
        url: the URL with the address in place of the name.
        host: the `Host` header.
        name: the name that the server's certificate has to be for.
    """

    url: str
    host: str
    name: str


class WebhookPolicy:
    """Which webhooks the settings allow."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = tuple(host.lower() for host in settings.webhook_hosts)
        self._private = tuple(host.lower() for host in settings.webhook_private_hosts)

    def check(self, url: str | None) -> str | None:
        """A webhook's URL that a request brings, if it is allowed.

        Raises:
            Refused: 422, with what is wrong with it.
        """
        if url is None:
            return None
        try:
            self._split(url)
        except ForbiddenAddressError as error:
            raise Refused(
                422, "The webhook is refused", str(error), reason="WebhookRefused"
            ) from error
        return url

    async def resolve(self, url: str) -> Destination:
        """Resolve a webhook's name, once.

        Raises:
            ForbiddenAddressError: the settings allow neither the host nor any of its addresses.
            OSError: the name does not resolve.
        """
        parts = self._split(url)
        name = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        found = await asyncio.get_running_loop().getaddrinfo(
            name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
        addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        if not _listed(name, parts.port, self._private):
            addresses = [address for address in addresses if is_public(address)]
        if not addresses:
            raise ForbiddenAddressError(
                f"{name} has private addresses only: allow it with --webhook-private-host {name}."
            )
        address = addresses[0]
        literal = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
        pinned = parts._replace(netloc=f"{literal}:{port}")
        return Destination(pinned.geturl(), parts.netloc, name)

    def _split(self, url: str) -> SplitResult:
        if not self._hosts:
            raise ForbiddenAddressError(
                "No webhooks are allowed here: name their hosts with --webhook-host."
            )
        if len(url) > _MAX_URL or not url.isprintable() or " " in url:
            raise ForbiddenAddressError("The webhook is no URL of at most 2048 characters.")
        try:
            parts = urlsplit(url)
            port, name = parts.port, parts.hostname
        except ValueError as error:
            raise ForbiddenAddressError(f"The webhook is no URL: {error}.") from error
        if parts.scheme not in _PORTS or not name:
            raise ForbiddenAddressError("A webhook is an http or https URL with a host.")
        if parts.username is not None or parts.fragment:
            raise ForbiddenAddressError("A webhook holds neither a user name nor a fragment.")
        if not _listed(name, port, self._hosts):
            place = name if port is None else f"{name}:{port}"
            raise ForbiddenAddressError(
                f"Webhooks to {place} are not allowed: allow them with --webhook-host {place}."
            )
        return parts


def is_public(address: _Address) -> bool:
    """Whether an address is one of the public Internet, also the one inside a mapped address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def _listed(name: str, port: int | None, entries: tuple[str, ...]) -> bool:
    for entry in entries:
        host, _, entry_port = entry.rpartition(":") if _has_port(entry) else (entry, "", "")
        host = host.strip("[]")
        if (str(port) if port is not None else "") != entry_port:
            continue
        if name == host or (host.startswith(".") and name.endswith(host)):
            return True
    return False


def _has_port(entry: str) -> bool:
    # A bare IPv6 address has colons of its own; with a port it stands in brackets.
    _, colon, port = entry.rpartition(":")
    return bool(colon) and port.isdecimal() and (entry.count(":") == 1 or "]:" in entry)


class Signer:
    """Signs messages with one secret.

    Args:
        secret: `whsec_` and base64 of 24 to 64 bytes.

    Raises:
        WebhookSecretError: it has another form.
    """

    def __init__(self, secret: str) -> None:
        try:
            self._key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error as error:
            raise WebhookSecretError(
                "the webhook secret is not `whsec_` and base64: make one with "
                "`echo whsec_$(openssl rand -base64 32)`"
            ) from error
        if not 24 <= len(self._key) <= 64:  # noqa: PLR2004 - bounds of the specification
            raise WebhookSecretError(
                f"the webhook secret has {len(self._key)} bytes: 24 to 64 are needed"
            )

    def headers(self, message: str, timestamp: int, body: bytes) -> dict[str, str]:
        """The headers that let a receiver check who sent a message, and when.

        Args:
            message: its id, the same at every delivery.
            timestamp: seconds since the epoch, of this delivery.
            body: exactly what is sent.
        """
        signed = f"{message}.{timestamp}.".encode() + body
        mac = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode()
        return {
            "webhook-id": message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": f"v1,{mac}",
        }
