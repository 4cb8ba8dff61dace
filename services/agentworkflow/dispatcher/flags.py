"""Reads a dispatcher's settings from flags and the environment: a flag wins over its variable."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agentworkflow.dispatcher.keys import ApiKeyError, parse_api_keys
from agentworkflow.dispatcher.settings import Settings

PREFIX: Final = "AGENTWORKFLOW_"

_TRUE: Final = frozenset({"1", "true", "yes"})

# Flags that become a setting of the same name: (name, type, help).
_PLAIN: Final[tuple[tuple[str, Callable[[str], Any], str], ...]] = (
    ("redis-url", str, "store of all state: redis://, rediss://, unix://, redis+cluster://"),
    ("shards", int, "1 for one machine, 64 on a cluster; never change it"),
    ("host", str, "address of the API; other than loopback needs keys"),
    ("port", int, "port of the API; 0 takes a free one"),
    ("event-host", str, "address of the event port; cluster-internal"),
    ("event-port", int, "where Triggers deliver and hosts report; 0 takes a free one"),
    ("broker-url", str, "where Brokers are, with {namespace} and {broker} in it"),
    ("rate-limit", float, "requests per second and key; 0 sets none"),
    ("rate-burst", int, "requests that a key may make at once"),
    ("max-accepts", int, "starts and events being committed at one time"),
    ("max-wait", float, "longest Prefer: wait=N, in seconds"),
    ("heartbeat", float, "seconds between comments on a silent event stream"),
    ("webhook-timeout", float, "seconds for one delivery"),
    ("webhook-attempts", int, "deliveries before a dead letter"),
    ("shutdown-grace", float, "seconds that requests in flight get at the end"),
)
# Flags that may be given again and again, or as a list with commas in the environment.
_LISTS: Final = (
    ("allowed-host", "allowed_hosts", "Host name that is taken besides loopback's without keys"),
    ("webhook-host", "webhook_hosts", "host that webhooks may go to; .example.com for all below"),
    (
        "webhook-private-host",
        "webhook_private_hosts",
        "one of them that may have a private address",
    ),
)
# Secrets come from files, or from the environment, never from the command line.
_SECRETS: Final = (
    ("event-secret-file", "event_secret", "file with the secret of Triggers' addresses"),
    ("webhook-secret-file", "webhook_secret", "file with the secret that signs webhooks, whsec_…"),
)


class SettingsError(ValueError):
    """A setting cannot be read."""


def parse_settings(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[Settings, str]:
    """Settings and the log level.

    Raises:
        SettingsError: a variable or a file cannot be used.
        SystemExit: a flag is wrong, or help was asked for.
    """
    flags = vars(_build_parser().parse_args(arguments))
    values: dict[str, Any] = {}
    for name, convert, _ in _PLAIN:
        found = _given(flags, environment, name)
        if found is not None:
            values[_field(name)] = _converted(name, convert, found)
    for name, field, _ in _LISTS:
        listed = flags[_field(name)] or environment.get(_variable(name), "").split(",")
        values[field] = tuple(filter(None, (each.strip() for each in listed)))
    for name, field, _ in _SECRETS:
        values[field] = _secret(flags, environment, name)
    insecure = environment.get(_variable("insecure-no-auth"), "").lower() in _TRUE
    values["insecure_no_auth"] = flags["insecure_no_auth"] or insecure
    values["api_keys"] = _api_keys(flags, environment)
    if values["webhook_hosts"] and not values["webhook_secret"]:
        raise SettingsError("webhooks have to be signed: give --webhook-secret-file")
    level = _given(flags, environment, "log-level") or "INFO"
    return Settings(**values), level


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agentworkflow.dispatcher",
        description="One dispatcher: HTTP API, event port, runs.",
        epilog=f"Each flag has a variable: --redis-url is {PREFIX}REDIS_URL.",
    )
    for name, convert, text in _PLAIN:
        kind = None if convert is str else convert.__name__.upper()
        parser.add_argument(f"--{name}", help=text, metavar=kind)
    for name, _, text in _LISTS:
        parser.add_argument(f"--{name}", help=text, action="append", metavar="HOST")
    for name, _, text in (*_SECRETS, ("api-keys", "", "file of lines name:key[:namespace,…]")):
        parser.add_argument(f"--{name}", help=text, metavar="FILE")
    parser.add_argument("--insecure-no-auth", action="store_true", help="serve without keys")
    parser.add_argument("--log-level", help="DEBUG, INFO, WARNING or ERROR")
    return parser


def _given(flags: Mapping[str, Any], environment: Mapping[str, str], name: str) -> str | None:
    found: str | None = flags[_field(name)]
    return found if found is not None else environment.get(_variable(name))


def _converted(name: str, convert: Callable[[str], Any], text: str) -> Any:
    try:
        return convert(text)
    except ValueError as error:
        raise SettingsError(f"--{name} {text!r} is no {convert.__name__}") from error


def _secret(flags: Mapping[str, Any], environment: Mapping[str, str], name: str) -> str | None:
    path = _given(flags, environment, name)
    if path is not None:
        return _read(name, path).strip()
    return environment.get(_variable(name.removesuffix("-file")))


def _api_keys(flags: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[Any, ...]:
    path = flags["api_keys"] or environment.get(_variable("api-keys-file"))
    text = _read("api-keys", path) if path else environment.get(_variable("api-keys"), "")
    try:
        return parse_api_keys(text.splitlines())
    except ApiKeyError as error:
        raise SettingsError(str(error)) from error


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--{name} {path}: {error}") from error


def _field(name: str) -> str:
    return name.replace("-", "_")


def _variable(name: str) -> str:
    return PREFIX + name.replace("-", "_").upper()
