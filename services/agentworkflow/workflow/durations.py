"""Durations as the resource writes them: `1h30m10s`, `500ms`.

Hours, minutes, seconds and milliseconds, each at most once and in this order. That is a part of
what Go's `time.ParseDuration` and CEL's `duration()` read, so the CRD and Knative agree with us.
"""

import re
from typing import Final

# Digits are bounded, so that no value leaves the range of CEL's duration (about 290 years).
DURATION_PATTERN: Final = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$"
_DURATION: Final = re.compile(
    r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?(?:([0-9]{1,6})ms)?"
)
_MS_PER_UNIT: Final = (3_600_000, 60_000, 1_000, 1)


def parse_duration(text: str) -> float:
    """The seconds that a duration such as `1h30m10s` names.

    Raises:
        ValueError: the text is no duration; the message says how to write one.
    """
    return parse_duration_ms(text) / 1_000


def parse_duration_ms(text: str) -> int:
    """The same in whole milliseconds.

    Raises:
        ValueError: the text is no duration; the message says how to write one.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f'"{text}" is no duration: write hours, minutes and seconds, as 1h30m10s')
    return sum(
        int(digits) * ms for digits, ms in zip(match.groups(), _MS_PER_UNIT, strict=True) if digits
    )
