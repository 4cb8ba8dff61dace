"""Resolves the environment of a function on one machine, where there are no Secrets.

What a Secret or ConfigMap holds on a cluster comes from ``<secrets dir>/<name>/<key>`` files, or
from the engine's own environment under the variable's name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentworkflow.workflow.models_functions import (
    Container,
    KeyReference,
    Variable,
    VariablesFrom,
)

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """Where values come from: a directory of ``name/key`` files, and an environment."""

    directory: Path | None
    inherited: Mapping[str, str]

    def read(self, name: str, key: str) -> str | None:
        """The value of one key, or None; one newline at its end is the editor's."""
        if self.directory is None:
            return None
        try:
            text = (self.directory / name / key).read_text(encoding="utf-8")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        return text.removesuffix("\n")

    def keys(self, name: str) -> tuple[str, ...]:
        """The keys that there are of one Secret or ConfigMap."""
        folder = None if self.directory is None else self.directory / name
        if folder is None or not folder.is_dir():
            return ()
        return tuple(sorted(each.name for each in folder.iterdir() if each.is_file()))


@dataclass(frozen=True, slots=True)
class Resolved:
    """Variables, and a sentence for each that is missing."""

    variables: Mapping[str, str]
    missing: tuple[str, ...]


def resolve_environment(containers: Sequence[Container], files: SecretFiles) -> Resolved:
    """The variables of containers laid over each other: the runtime's, then the function's."""
    variables: dict[str, str] = {}
    missing: list[str] = []
    for container in containers:
        for group in container.env_from:
            variables |= _of_group(group, files, missing)
    for container in containers:
        for variable in container.env:
            value = _of_variable(variable, files, missing)
            if value is not None:
                variables[variable.name] = value
    return Resolved(variables, tuple(missing))


def _of_group(group: VariablesFrom, files: SecretFiles, missing: list[str]) -> dict[str, str]:
    """All keys that are valid names; without a directory the inherited environment speaks."""
    reference = group.secret_ref or group.config_map_ref
    if reference is None:
        return {}
    if files.directory is not None and not (files.directory / reference.name).is_dir():
        if not reference.optional:
            missing.append(
                f"envFrom takes all of {reference.name}, which is not in {files.directory}: "
                f"make the folder {reference.name} there, with one file per key, "
                "or write optional: true"
            )
        return {}
    found = {}
    for key in files.keys(reference.name):
        name = f"{group.prefix or ''}{key}"
        value = files.read(reference.name, key)
        if _VARIABLE.fullmatch(name) and value is not None:
            found[name] = value
    return found


def _of_variable(variable: Variable, files: SecretFiles, missing: list[str]) -> str | None:
    reference = _reference(variable)
    if reference is None:
        return variable.value or ""
    value = files.read(reference.name, reference.key)
    if value is None:
        value = files.inherited.get(variable.name)
    if value is None and not reference.optional:
        missing.append(
            f"the variable {variable.name} comes from key {reference.key} of {reference.name}: "
            f"write a file {reference.name}/{reference.key} into a folder and name that folder "
            f"with --secrets, or set {variable.name} in the environment"
        )
    return value


def _reference(variable: Variable) -> KeyReference | None:
    source = variable.value_from
    return None if source is None else source.secret_key_ref or source.config_map_key_ref
