"""The one TLS context of a dispatcher's clients.

Reading the certificate authorities takes 80 ms, and a client without a context reads them anew.
"""

import functools
import ssl

import httpx2


@functools.cache
def client_tls() -> ssl.SSLContext:
    """What HTTPS servers are verified with: the authorities that httpx2 trusts."""
    return httpx2.create_ssl_context(trust_env=False)
