"""What a user hands over on the command line, and the sentence for each mistake."""

import io
from pathlib import Path

import pytest

from agentworkflow.cli import inputs
from agentworkflow.cli.errors import CommandError


def test_a_value_is_json() -> None:
    assert inputs.parse_value('{"a": [1, null]}', "--input") == {"a": [1, None]}


def test_a_value_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text('{"id": "ä"}', encoding="utf-8")

    assert inputs.parse_value(f"@{file}", "--input") == {"id": "ä"}


def test_a_value_may_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("[1]"))

    assert inputs.parse_value("@-", "--input") == [1]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("{'a': 1}", "--input is not JSON: line 1, column 2"),
        ("NaN", "--input is not JSON: NaN is no JSON number."),
        ("", "--input is not JSON: line 1, column 1"),
        ("@nowhere.json", "--input nowhere.json cannot be read: No such file or directory."),
    ],
)
def test_a_wrong_value_is_told_with_the_option_and_the_place(argument: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        inputs.parse_value(argument, "--input")

    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_bytes(b"\xff\xfe")

    with pytest.raises(CommandError, match="is not UTF-8 text"):
        inputs.parse_value(f"@{file}", "--input")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("yes", "yes"), ("true", True), ('{"by": "Ada"}', {"by": "Ada"}), ("null", None), ("", "")],
)
def test_a_signals_value_is_json_or_else_the_text_itself(argument: str, value: object) -> None:
    assert inputs.parse_lenient_value(argument, "VALUE") == value


def test_pairs_split_at_the_first_equals_sign() -> None:
    assert inputs.parse_pairs(("crm=python crm.py --x=1",), "--command") == {
        "crm": "python crm.py --x=1"
    }


@pytest.mark.parametrize("pair", ["crm", "=x", "crm="])
def test_a_pair_without_both_sides_is_refused(pair: str) -> None:
    with pytest.raises(CommandError, match="is not of the form NAME=VALUE"):
        inputs.parse_pairs((pair,), "--command")
