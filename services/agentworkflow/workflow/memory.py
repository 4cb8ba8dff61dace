"""Kubernetes quantities, as far as the resource holds them: `512Mi`, `1.5G`, `50m`."""

import re
from decimal import Decimal
from typing import Final

QUANTITY_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
MEMORY_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(m|[kMGTP]|[KMGTP]i)?")
_FACTORS: Final = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}


def parse_quantity(text: str | int) -> int:
    """The bytes that a quantity of memory such as `512Mi` names, rounded up to a whole one.

    Raises:
        ValueError: the text is no quantity; the message says how to write one.
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f'"{text}" is no quantity: write a number and a unit, as 512Mi')
    exact = Decimal(match[1]) * _FACTORS[match[2]]
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))
