"""Media types: what a `datacontenttype` or `Content-Type` says about the bytes it describes."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

# RFC 2045 / RFC 9110: type "/" subtype *( OWS ";" OWS name "=" ( token / quoted-string ) )
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - a grammar's token, no secret
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
_PARAMETER = re.compile(rf"[ \t]*;[ \t]*(?:({_TOKEN})=({_TOKEN}|{_QUOTED}))?")
_TYPE = re.compile(rf"[ \t]*({_TOKEN})/({_TOKEN})")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A parsed media type; `essence` and parameter names are lower case."""

    essence: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_json(self) -> bool:
        """True for `*/json` and `*/*+json`."""
        subtype = self.essence.partition("/")[2]
        return subtype == "json" or subtype.endswith("+json")

    @property
    def is_text(self) -> bool:
        """True for `text/*`."""
        return self.essence.startswith("text/")

    @property
    def charset(self) -> str:
        """The `charset` parameter, or UTF-8."""
        return self.parameters.get("charset", "utf-8")


JSON = MediaType("application/json")


@lru_cache(maxsize=512)
def parse_media_type(value: str) -> MediaType | None:
    """Parse a media type with its parameters; None if it is none. Bounded cache: few recur."""
    found = _TYPE.match(value)
    if found is None:
        return None
    essence = f"{found[1]}/{found[2]}".lower()
    parameters: dict[str, str] = {}
    position = found.end()
    end = len(value.rstrip(" \t"))
    while position < end:
        part = _PARAMETER.match(value, position)
        if part is None:
            return None
        position = part.end()
        if part[1] is not None:
            text = part[2]
            if text.startswith('"'):
                text = _ESCAPED.sub(r"\1", text[1:-1])
            parameters.setdefault(part[1].lower(), text)
    return MediaType(essence, parameters)


def is_charset(name: str) -> bool:
    """Tell whether `name` is a character encoding that can be read here."""
    try:
        # Codecs such as rot13 or base64 are none: they do not turn bytes into text.
        return isinstance(codecs.lookup(name).decode(b"")[0], str) and name.isascii()
    except (LookupError, ValueError, TypeError, UnicodeError):
        return False
