"""LIKE patterns, matched in time linear in the text for each piece between two `%`.

A translation to one regular expression would take polynomial time on `%a%a%a%a…`.
"""

import re
from collections.abc import Callable

_PIECE = re.compile(r"\\[%_]|[%_]|[^%_\\]+|\\", re.DOTALL)


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    r"""Return the matcher of a pattern: `%` any characters, `_` one, `\%` and `\_` themselves."""
    pieces: list[list[str | None]] = [[]]
    for part in _PIECE.findall(pattern):
        if part == "%":
            pieces.append([])
        elif part == "_":
            pieces[-1].append(None)
        else:
            pieces[-1].append(part[1] if part in (r"\%", r"\_") else part)
    if len(pieces) == 1:
        return _exactly(pieces[0])
    plain = ["".join(p) if None not in p else None for p in pieces]  # type: ignore[arg-type]
    if len(plain) == 2:  # noqa: PLR2004 - one % alone: the common prefix and suffix filters
        first, last = plain
        if first is not None and last == "":
            return lambda text: text.startswith(first)
        if first == "" and last is not None:
            return lambda text: text.endswith(last)
    return _between(pieces)


def _exactly(piece: list[str | None]) -> Callable[[str], bool]:
    expression = _expression(piece)
    return lambda text: expression.fullmatch(text) is not None


def _between(pieces: list[list[str | None]]) -> Callable[[str], bool]:
    head = _expression(pieces[0])
    middle = [_expression(piece) for piece in pieces[1:-1] if piece]
    tail = _expression(pieces[-1])
    tail_length = sum(1 if part is None else len(part) for part in pieces[-1])

    def matches(text: str) -> bool:
        found = head.match(text)
        end = len(text) - tail_length
        if found is None:
            return False
        position = found.end()
        for expression in middle:
            # The leftmost place leaves the most room for what follows.
            found = expression.search(text, position, max(position, end))
            if found is None:
                return False
            position = found.end()
        return position <= end and tail.match(text, end) is not None

    return matches


def _expression(piece: list[str | None]) -> re.Pattern[str]:
    return re.compile(
        "".join("." if part is None else re.escape(part) for part in piece), re.DOTALL
    )
