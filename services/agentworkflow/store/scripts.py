"""The Lua scripts, read from their files.

A script is the only way in which this package changes Redis: each is atomic, and every key it
touches is handed to it, in one slot.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

__all__ = ["SCRIPTS", "Script"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script with the digest under which Redis caches it."""

    name: str
    source: str
    sha: str


def _load() -> dict[str, Script]:
    folder = resources.files("agentworkflow.store") / "lua"
    prelude = (folder / "prelude.lua").read_text(encoding="utf-8")
    scripts = {}
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = file.name.removesuffix(".lua")
        if name in {file.name, "prelude"}:
            continue
        source = f"{prelude}\n{file.read_text(encoding='utf-8')}"
        # Redis names a script by its SHA-1; nothing is secured by it.
        sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        scripts[name] = Script(name, source, sha)
    return scripts


SCRIPTS: Final = _load()
