"""Decides what a valid CloudEvents 1.0 context attribute is: its name, type and value.

Every check returns the sentence that says what is wrong, or None.
The rules are those of the CloudEvents 1.0.2 specification, «Context Attributes».
"""

import re
from collections.abc import Mapping

from agentworkflow.events.media import parse_media_type

REQUIRED = ("specversion", "id", "source", "type")
OPTIONAL = ("subject", "time", "datacontenttype", "dataschema")
CORE = frozenset(REQUIRED + OPTIONAL)

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

_NAME = re.compile(r"[a-z0-9]+")
_SUPPLEMENTARY_NONCHARACTERS = "".join(
    chr(plane << 16 | low) for plane in range(1, 17) for low in (0xFFFE, 0xFFFF)
)
_DISALLOWED = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff" + _SUPPLEMENTARY_NONCHARACTERS + "]"
)

# RFC 3986, appendix A. Alternatives are disjoint in their first character: matching is linear.
_PCT = "%[0-9A-Fa-f]{2}"
_UNRESERVED_SUB = r"A-Za-z0-9\-._~!$&'()*+,;="
_PCHAR = f"(?:[{_UNRESERVED_SUB}:@]|{_PCT})"
_AUTHORITY = (
    f"(?:(?:[{_UNRESERVED_SUB}:]|{_PCT})*@)?"
    rf"(?:\[(?:[0-9A-Fa-f:.]+|[vV][0-9A-Fa-f]+\.[{_UNRESERVED_SUB}:]+)\]|(?:[{_UNRESERVED_SUB}]|{_PCT})*)"
    "(?::[0-9]*)?"
)
_SEGMENTS = f"(?:/{_PCHAR}*)*"
_TAIL = rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
_HIER = f"(?://{_AUTHORITY}{_SEGMENTS}|/(?:{_PCHAR}+{_SEGMENTS})?|{_PCHAR}+{_SEGMENTS}|)"
_NOSCHEME = f"(?:[{_UNRESERVED_SUB}@]|{_PCT})+{_SEGMENTS}"
_RELATIVE = f"(?://{_AUTHORITY}{_SEGMENTS}|/(?:{_PCHAR}+{_SEGMENTS})?|{_NOSCHEME}|)"
_URI = re.compile(rf"[A-Za-z][A-Za-z0-9+.\-]*:{_HIER}{_TAIL}")
_RELATIVE_REF = re.compile(f"{_RELATIVE}{_TAIL}")

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAY_MINUTES = 24 * 60


def name_fault(name: str) -> str | None:
    """Check the name of an extension attribute."""
    if name == "data":
        return "is reserved for the payload and cannot name an attribute"
    if name in CORE:
        return "is an attribute of the core: set it there, not as an extension"
    if not _NAME.fullmatch(name):
        return "is no attribute name: names are lower-case letters a-z and digits 0-9"
    return None


def string_fault(value: str) -> str | None:
    """Check the characters of a String: no controls, noncharacters or lone surrogates."""
    if value.isascii() and value.isprintable():
        return None
    if bad := _DISALLOWED.search(value):
        return f"holds the disallowed character U+{ord(bad.group()):04X}"
    return None


def extension_fault(value: object) -> str | None:
    """Check the value of an extension: a String, a Boolean or a 32-bit Integer."""
    if isinstance(value, str):
        return string_fault(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        if INT32_MIN <= value <= INT32_MAX:
            return None
        return f"{value} is outside the 32-bit range of an Integer: send it as a string"
    return (
        f"must be a string, a boolean or a 32-bit integer, not {_describe(value)}: "
        "put structured values into data"
    )


def core_fault(name: str, value: object) -> str | None:
    """Check one attribute of the core; None is an absent one."""
    if value is None:
        return "is missing: every CloudEvent has one" if name in REQUIRED else None
    if not isinstance(value, str):
        return f"must be a string, not {_describe(value)}"
    if not value:
        return "is empty: give it a value" + ("" if name in REQUIRED else ", or leave it out")
    if fault := string_fault(value):
        return fault
    if name == "specversion" and value != "1.0":
        return f"{value!r} is not supported: send '1.0'"
    if name == "source" and not is_uri_reference(value):
        return f"{value!r} is no URI reference (RFC 3986): percent-encode what is not allowed"
    if name == "dataschema" and not is_uri(value):
        return f"{value!r} is no absolute URI (RFC 3986), such as https://example.com/order.json"
    if name == "time" and not is_rfc3339(value):
        return f"{value!r} is no RFC 3339 time, such as 2026-01-31T08:30:00Z"
    if name == "datacontenttype" and parse_media_type(value) is None:
        return f"{value!r} is no media type (RFC 2046), such as application/json"
    return None


def is_uri_reference(value: str) -> bool:
    """Tell whether `value` is a URI-reference, absolute or relative (RFC 3986, 4.1)."""
    return (_URI.fullmatch(value) or _RELATIVE_REF.fullmatch(value)) is not None


def is_uri(value: str) -> bool:
    """Tell whether `value` is a URI with a scheme.

    A fragment is allowed, as CloudEvents' own JSON Schema does: pointers into a schema have one.
    """
    return _URI.fullmatch(value) is not None


def is_rfc3339(value: str) -> bool:
    """Tell whether `value` is a date-time of RFC 3339 that exists in the Gregorian calendar."""
    found = _RFC3339.fullmatch(value)
    if found is None:
        return False
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    sign, offset_hour, offset_minute = found[7], int(found[8] or 0), int(found[9] or 0)
    if not 1 <= month <= len(_DAYS) or hour > 23 or minute > 59 or second > 60:  # noqa: PLR2004
        return False
    if offset_hour > 23 or offset_minute > 59:  # noqa: PLR2004 - a clock's own numbers
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= _DAYS[month - 1] + (leap and month == 2):  # noqa: PLR2004
        return False
    if second < 60:  # noqa: PLR2004
        return True
    # A leap second is inserted only after 23:59:59 UTC.
    offset = (offset_hour * 60 + offset_minute) * (-1 if sign == "-" else 1)
    return (hour * 60 + minute - offset) % _DAY_MINUTES == _DAY_MINUTES - 1


def canonical(value: str | int | bool) -> str:
    """Return the canonical string of an attribute's value: `true`, `-5`, or the string itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "null" if value is None else type(value).__name__
