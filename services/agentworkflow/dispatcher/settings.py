"""Every setting of a dispatcher, with its unit, its default and why it has it."""

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the API.

    Attributes:
        name: shown in logs and metrics; the key itself never is.
        digest: SHA-256 of the key, so that a dump of the settings gives no key away.
        namespaces: the only namespaces that it opens; empty opens all.
    """

    name: str
    digest: bytes
    namespaces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a dispatcher listens, whom it lets in, and what it takes at once.

    Attributes:
        redis_url: the store of all state.
        shards: 1 for one machine, 64 on a cluster. It is written into run ids: never change it.
        host: address of the API port. Other than loopback needs keys or `insecure_no_auth`.
        port: of the API; 0 takes a free one.
        event_host: address of the event port; on a cluster a cluster-internal one.
        event_port: 0 takes a free one.
        broker_url: where Brokers are that no workflow names, with `{namespace}` and `{broker}` in
            it; None if only published workflows have Brokers.
        event_secret: signs the addresses of Triggers. All dispatchers and whoever makes Triggers
            need the same; None draws one, with which addresses end with the process.
        api_keys: who may use the API; none means loopback only.
        insecure_no_auth: serve without keys on an address that others can reach.
        allowed_hosts: `Host` names that are taken besides loopback's when there are no keys.
        rate_limit: requests per second and key; 0 sets no limit.
        rate_burst: requests that a key may make at once on top of its rate.
        max_body: bytes of a request; more is 413.
        max_blob: bytes of one input or result that is kept by reference.
        max_accepts: starts, signals and events that are being committed at one time; more is 429,
            so that a slow store is met by clients that come back, not by a growing queue.
        max_wait: seconds; the longest `Prefer: wait=N` that is granted. Proxies cut at 60.
        heartbeat: seconds between comments on a silent event stream. Proxies cut at 30 or more.
        webhook_hosts: hosts that webhooks may go to; `.example.com` allows every name below it,
            `host:port` another port than the scheme's. Empty allows none.
        webhook_private_hosts: those of them that may resolve to a private address.
        webhook_secret: `whsec_` and base64; signs every push. Needed if there are webhook hosts.
        webhook_timeout: seconds for one delivery.
        webhook_attempts: deliveries of one entry before it becomes a dead letter; with the
            backoff (5 s doubled, at most 1 h) 10 attempts span an hour and a half.
        shutdown_grace: seconds that requests in flight get at the end.
    """

    redis_url: str = "redis://127.0.0.1:6379/0"
    shards: int = 1
    host: str = "127.0.0.1"
    port: int = 8080
    event_host: str = "127.0.0.1"
    event_port: int = 8081
    broker_url: str | None = None
    event_secret: str | None = None
    api_keys: tuple[ApiKey, ...] = ()
    insecure_no_auth: bool = False
    allowed_hosts: tuple[str, ...] = ()
    rate_limit: float = 0.0
    rate_burst: int = 20
    max_body: int = MIB
    max_blob: int = 64 * MIB
    max_accepts: int = 256
    max_wait: float = 55.0
    heartbeat: float = 15.0
    webhook_hosts: tuple[str, ...] = ()
    webhook_private_hosts: tuple[str, ...] = ()
    webhook_secret: str | None = None
    webhook_timeout: float = 10.0
    webhook_attempts: int = 10
    shutdown_grace: float = 10.0
