"""Kubernetes quantities."""

import pytest

from agentworkflow.workflow.memory import parse_quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("512Mi", 536_870_912),
        ("1.5Gi", 1_610_612_736),
        ("1G", 1_000_000_000),
        ("1k", 1000),
        ("128", 128),
        (128, 128),
        ("1500m", 2),
    ],
)
def test_a_quantity_is_a_whole_number_of_bytes(text: str | int, amount: int) -> None:
    assert parse_quantity(text) == amount


@pytest.mark.parametrize("text", ["", "512MB", "-1Mi", "1e3", "Mi", "1 Mi"])
def test_anything_else_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_quantity(text)

    assert str(refused.value) == f'"{text}" is no quantity: write a number and a unit, as 512Mi'
