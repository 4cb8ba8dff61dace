"""Addresses of the event port: an HMAC in them says which Trigger they belong to.

Namespace and workflow of an event are taken from the address alone, so an address is a
capability: whoever may read a Trigger may send to it.
"""

import base64
import hashlib
import hmac
from urllib.parse import quote


def trigger_address(base: str, secret: bytes, namespace: str, workflow: str, trigger: str) -> str:
    """The URL that a Trigger delivers to; its dead letters go to the same with `/dead`."""
    mac = address_mac(secret, namespace, workflow, trigger)
    path = "/".join(quote(part, safe="") for part in (namespace, workflow, trigger))
    return f"{base.rstrip('/')}/e/{path}/{mac}"


def address_mac(secret: bytes, namespace: str, workflow: str, trigger: str) -> str:
    """The last part of a Trigger's address: 43 characters that only the secret's owner can make."""
    # A zero byte is in no name, so no two triples give the same text.
    text = f"{namespace}\0{workflow}\0{trigger}"
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_genuine(secret: bytes, namespace: str, workflow: str, trigger: str, mac: str) -> bool:
    """Whether an address was made with the secret, in constant time."""
    expected = address_mac(secret, namespace, workflow, trigger)
    return hmac.compare_digest(expected.encode(), mac.encode())
