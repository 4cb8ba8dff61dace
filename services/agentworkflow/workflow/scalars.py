"""Bare words of YAML, as `kubectl` reads them: YAML 1.1, where `yes` and `on` are booleans.

No dates, and no numbers to the base of 60. What JSON cannot hold is refused.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final

import yaml
from yaml.nodes import ScalarNode

_TAG: Final = "tag:yaml.org,2002:"
MERGE_TAG: Final = _TAG + "merge"
_EXACT_INTEGER: Final = 2**53


class ScalarError(ValueError):
    """A value that cannot be read: what is wrong, and what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class Loader(yaml.SafeLoader):
    """Resolves bare words as kubectl does."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form


for _name, _pattern, _first in (
    ("bool", r"y|yes|on|true|n|no|off|false", "yYnNtTfFoO"),
    ("bool", r"Y|Yes|YES|On|ON|True|TRUE|N|No|NO|Off|OFF|False|FALSE", "YNTFO"),
    ("int", r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|0[0-7_]*|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL", "~nN"),
    ("merge", r"<<", "<"),
):
    Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), list(_first))
# Nothing written is null too.
Loader.add_implicit_resolver(_TAG + "null", re.compile("^$"), [""])


def read_scalar(node: ScalarNode) -> str | int | float | bool | None:
    """The value of a scalar.

    Raises:
        ScalarError: its tag is not JSON's, or its text does not fit the tag.
    """
    kind = node.tag.removeprefix(_TAG)
    if kind not in _READERS:
        raise ScalarError(f"the tag {node.tag} is not supported", "leave it out")
    try:
        value: str | int | float | bool | None = _READERS[kind](node.value)
    except OverflowError as error:
        raise ScalarError(f"{node.value} is no number that JSON can hold") from error
    except ValueError as error:
        message = f'"{node.value}" is no {kind}'
        raise ScalarError(message, "correct it, or leave the tag out") from error
    return value


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    for prefix, base in (("0b", 2), ("0x", 16), ("0o", 8), ("0", 8)):
        if digits.startswith(prefix) and len(digits) > len(prefix):
            return sign * int(digits[len(prefix) :], base)
    return sign * int(digits)


def _number(text: str) -> int | float:
    number = float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise OverflowError(text)
    exact = number.is_integer() and abs(number) < _EXACT_INTEGER
    return int(number) if exact else number


_BOOLEANS: Final = {"y": True, "yes": True, "true": True, "on": True,
                    "n": False, "no": False, "false": False, "off": False}  # fmt: skip
_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "null": lambda _text: None,
    "bool": _boolean,
    "int": _integer,
    "float": _number,
}
