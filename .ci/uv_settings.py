"""Prints, as shell exports, what uv needs to go the way that pip is told to go.

uv reads none of pip's settings. Whoever has set an index, a certificate or a time limit for
pip (in the environment or in a `pip.conf`) means them for this installation too. A setting
made for uv itself always wins, and nothing here knows any host's name.
"""
# ruff: noqa: INP001 - a script that .ci/environment runs, not part of a package

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

# pip's option -> uv's variable. uv separates lists with the character given.
VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "no-index": ("UV_NO_INDEX", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "proxy": ("ALL_PROXY", " "),
}
# Older names of the same uv settings, and the variables that uv reads for the same purpose.
ALSO_SET_BY = {
    "UV_DEFAULT_INDEX": ("UV_INDEX_URL",),
    "UV_INDEX": ("UV_EXTRA_INDEX_URL",),
    "UV_HTTP_TIMEOUT": ("UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT"),
    "ALL_PROXY": ("HTTPS_PROXY", "https_proxy", "all_proxy"),
}
FALSE = {"0", "false", "no", "off", "n", "f", ""}


def pip_settings() -> dict[str, str]:
    """Option → value, as pip itself merges its files and the environment."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    layers: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in layers:
            layers[section][option] = str(ast.literal_eval(value))
    # The environment wins over `[install]`, and that over `[global]`: pip's own order.
    return layers["global"] | layers["install"] | layers[":env:"]


def exports(settings: dict[str, str], environment: dict[str, str]) -> list[str]:
    """One `export NAME=value` for each of pip's settings that uv has not been given itself."""
    lines = []
    for option, (variable, separator) in VARIABLES.items():
        if not settings.get(option):
            continue
        if any(name in environment for name in (variable, *ALSO_SET_BY.get(variable, ()))):
            continue
        values = settings[option].split()
        if option == "find-links":  # pip passes over a folder that is not there; uv stops
            values = [value for value in values if "://" in value or Path(value).is_dir()]
        if option == "no-index":
            values = [] if settings[option].lower() in FALSE else ["1"]
        if values:
            lines.append(f"export {variable}={shlex.quote(separator.join(values))}")
    return lines


if __name__ == "__main__":
    print("\n".join(exports(pip_settings(), dict(os.environ))))  # noqa: T201 - the shell reads it
