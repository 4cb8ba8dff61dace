"""CEL over the parts of a run: what an expression reads, and what it comes to."""

from typing import Any

import pytest

from agentworkflow.workflow.expressions import (
    EvaluationError,
    Expression,
    ExpressionError,
    Scope,
    compile_expression,
    find_errors,
    implies_event,
)
from agentworkflow.workflow.parts import EVENT, INPUT, SESSION, error_of, output_of

ANY = Scope(every_step=True)


def compiled(source: str) -> Expression:
    return compile_expression(source, ANY)


def value(source: str, **bindings: Any) -> Any:
    return compiled(source).evaluate(bindings)


def refusal(source: str, **bindings: Any) -> str:
    with pytest.raises(EvaluationError) as caught:
        value(source, **bindings)
    assert caught.value.source == source
    assert str(caught.value) == f"${{{source}}}: {caught.value.message}"
    return caught.value.message


# --- what it reads ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("1 + 1", set()),
        ("input", {INPUT}),
        ("input.a.b + input.c", {INPUT}),
        ("event.data.x", {EVENT}),
        ("session == null", {SESSION}),
        ("run.id", set()),
        ("item + index", set()),
        ("steps.a.output.x.y", {output_of("a")}),
        ("steps['my-step'].output", {output_of("my-step")}),
        ("steps['a']['output']", {output_of("a")}),
        ("steps.a.error.reason", {error_of("a")}),
        ("steps.a.state == 'Failed'", set()),
        ("has(steps.a.output.x)", {output_of("a")}),
        ("steps.a.?output.?x.orValue(0)", {output_of("a")}),
        ("steps.?a.output", {output_of("a")}),
        ("steps.a.output[input.n]", {output_of("a"), INPUT}),
        ("input.xs.map(steps, steps.a.output)", {INPUT}),
        ("input.xs.filter(x, x.id == session.id)", {INPUT, SESSION}),
        ("input.xs.all(input, input > 1)", {INPUT}),
        ("{'a': [steps.a.output, steps.b.output]}", {output_of("a"), output_of("b")}),
        ("math.greatest(input.a, 3)", {INPUT}),
        ("type(input.a) == string", {INPUT}),
    ],
)
def test_an_expression_reads_these_parts(source: str, parts: set[Any]) -> None:
    assert compiled(source).parts == parts


def test_it_knows_its_roots_and_steps_the_state_included() -> None:
    found = compiled("steps.a.state == 'Failed' ? input : steps.b.output")
    assert found.names == {"steps", "input"}
    assert found.steps == {"a", "b"}


@pytest.mark.parametrize(
    ("source", "step"),
    [
        ("steps.a.output", "a"),
        ("steps['my-step'].output", "my-step"),
        ("steps.a.output.x", None),
        ("steps.a.error", None),
        ("steps.a", None),
        ("has(steps.a.output)", None),
        ("[steps.a.output]", None),
        ("input.output", None),
    ],
)
def test_a_whole_output_is_known_as_a_reference(source: str, step: str | None) -> None:
    assert compiled(source).reference == step


# --- what it comes to ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("null", None),
        ("true && !false", True),
        ("1 + 2", 3),
        ("7 / 2", 3),
        ("1.0", 1.0),
        ("1.5 * 2.0", 3.0),
        ("'a' + \"b\"", "ab"),
        ("[1, 'a', null, [true]]", [1, "a", None, [True]]),
        ("{'a': {'b': 1}}", {"a": {"b": 1}}),
        ("b'\\x00\\xff'", "AP8="),
        ("timestamp('2026-01-01T01:00:00.25+01:00')", "2026-01-01T00:00:00.250000Z"),
        ("timestamp('2026-01-01T00:00:00Z')", "2026-01-01T00:00:00Z"),
        ("duration('90m')", "5400s"),
        ("duration('1.5s')", "1.5s"),
        ("duration('-1500ms')", "-1.5s"),
        ("duration('1234567.000001s')", "1234567.000001s"),
        ("duration('0s')", "0s"),
        ("18446744073709551615u", 18446744073709551615),
        ("-9223372036854775807", -9223372036854775807),
        ("string(1.0)", "1"),
        ("int('12') + size('äöü')", 15),
        ("'a,b'.split(',')", ["a", "b"]),
        ("math.least(3, 2)", 2),
        ("base64.encode(b'hi')", "aGk="),
        ("[1, 2, 3].filter(x, x > 1).map(x, x * 2)", [4, 6]),
        ("[1, 2].exists_one(x, x == 2)", True),
        ("{'a': 1}.map(k, k)", ["a"]),
        ("optional.of(2).orValue(1)", 2),
        ("{?'a': optional.none(), 'b': 1}", {"b": 1}),
        ("type(1) == int && type('') == string && type([]) == list", True),
        ("1 // one\n + 1", 2),
    ],
)
def test_a_value_is_json(source: str, expected: Any) -> None:
    found = value(source)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("given", [None, True, 0, 1.0, "é𝒳", [1, [2]], {"a": {"b": [None]}}, {}])
def test_what_goes_in_comes_out(given: Any) -> None:
    found = value("input", input=given)
    assert found == given
    assert type(found) is type(given)


def test_optional_syntax_reaches_into_what_may_be_absent() -> None:
    assert value("input.?a.?b.orValue(0)", input={}) == 0
    assert value("input[?'a'].orValue(0)", input={"a": 5}) == 5
    assert value("input.?a.hasValue()", input={}) is False


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("0.0 / 0.0", "nan"),
        ("1.0 / 0.0", "inf"),
        ("[1.0 / 0.0]", "inf"),
        ("1 / 0", "divide by zero"),
        ("{1: 'a'}", "the key 1 of a map is no string"),
        ("{'a': {true: 1}}", "the key True of a map is no string"),
        ("type(1)", "CEL type"),
        ("optional.of(1)", "orValue"),
        ("optional.none()", "orValue"),
        ("[optional.of(1)]", "orValue"),
        ("9223372036854775807 + 1", "overflow"),
        ("int('x')", "int"),
        ("timestamp('soon')", "timestamp"),
    ],
)
def test_what_json_cannot_hold_or_cel_refuses_is_an_error(source: str, words: str) -> None:
    assert words.lower() in refusal(source).lower()


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("input.a", {}),
        ("input.a.b", {"a": {}}),
        ("input.a", None),
        ("input.a", 3),
        ("input[5]", [1]),
        ("input > 1", "a"),
        ("input + 1.5", 1),
        ("input && true", 1),
        ("!input", "yes"),
        ("input.all(x, x > 1)", [2, "a"]),
        ("input ? 1 : 2", "true"),
    ],
)
def test_an_error_value_never_passes_as_truth(source: str, given: Any) -> None:
    # CEL's error values are non-empty strings to Python.
    assert refusal(source, input=given)
    assert refusal(f"[{source}]", input=given)


def test_cel_takes_either_sides_word_so_an_error_may_be_absorbed() -> None:
    assert value("input.missing || true", input={}) is True
    assert value("input.missing && false", input={}) is False
    assert refusal("input.missing || false", input={})


@pytest.mark.parametrize("given", [2**70, -(2**70), {"a": [2**64]}])
def test_an_integer_that_cel_cannot_hold_fails_the_expression(given: Any) -> None:
    assert "out of range" in refusal("input", input=given)


def test_a_number_between_int_and_uint_keeps_its_value() -> None:
    assert value("input", input=2**63) == 2**63


def test_nan_and_bad_text_from_outside_fail_the_expression() -> None:
    assert "nan" in refusal("input", input=float("nan"))
    assert refusal("input", input="\ud800")
    assert refusal("input", input=object())


def test_a_root_that_does_not_exist_here_is_named() -> None:
    assert refusal("item.x") == "`item` does not exist here"


def test_only_what_is_read_is_handed_to_cel() -> None:
    read = []

    class Watched(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            read.append(name)
            return super().__getitem__(name)

    assert compiled("input.a").evaluate(Watched(input={"a": 1}, event={"large": "map"})) == 1
    assert read == ["input"]


# --- guards of event -------------------------------------------------------------------------

UNSURE = Scope(event_is_certain=False)


@pytest.mark.parametrize(
    "source",
    [
        "event != null",
        "event == null",
        "null != event",
        "event != null ? event.id : 'none'",
        "event == null ? 'none' : event.id",
        "event != null && event.data.x > 1",
        "event.data.x > 1 && event != null",
        "event == null || event.data.x > 1",
        "!(event == null) && event.id == 'a'",
        "!(event != null) || event.id == 'a'",
        "input.a && event != null && event.id == 'a'",
        "(event != null && input.a) ? event.id : 'b'",
        "(event == null || input.a) ? 'b' : event.id",
        "event != null ? (input.a ? event.id : event.type) : ''",
        "input.xs.map(event, event.id)",
        "event != null ? input.xs.map(x, event.data[x]) : []",
    ],
)
def test_a_guarded_event_is_safe(source: str) -> None:
    assert list(find_errors(source, UNSURE)) == []


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("event", 1),
        ("event.id", 1),
        ("'a' + event.id", 7),
        ("[event.data]", 2),
        ("has(event.data)", 5),
        ("event.?data.orValue(1)", 1),
        ("event != null || event.id == 'a'", 18),
        ("event == null && event.id == 'a'", 18),
        ("event == null ? event.id : ''", 17),
        ("event != null ? '' : event.id", 22),
        ("(event != null || input.a) && event.id == 'a'", 31),
        ("(event != null || input.a) ? event.id : ''", 30),
        ("event.id != null", 1),
        ("!(event != null) && event.id == 'a'", 21),
        ("input.xs.map(x, event.data[x])", 17),
        ("input != null && event.id == 'a'", 18),
    ],
)
def test_an_unguarded_event_is_refused(source: str, column: int) -> None:
    (error,) = find_errors(source, UNSURE)
    assert error.message == "`event` is null when the run is started by the API or a route"
    assert error.column == column
    assert error.hint == "write `event != null ? … : …`, or use `input`"


@pytest.mark.parametrize(
    ("source", "implied"),
    [
        ("event != null", True),
        ("null != event", True),
        ("event != null && input.a", True),
        ("!(event == null)", True),
        ("!(event == null || input.a)", True),
        ("event == null", False),
        ("event != null || input.a", False),
        ("input.a", False),
        ("event.id != null", False),
        ("event !=", False),
    ],
)
def test_a_condition_that_is_only_true_with_an_event_is_known(source: str, implied: bool) -> None:
    assert implies_event(source) is implied


# --- errors of the compiler ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "column", "words"),
    [
        ("1 +", 4, "Syntax error"),
        ("input.a b", 9, "Syntax error"),
        ("'open", 1, "Syntax error"),
        ("true + 1", 6, "no matching overload"),
        ("nofn(1)", 1, "there is no function `nofn`"),
        ("1 + nofn(1)", 5, "there is no function `nofn`"),
        ("'é𝒳' + nofn(1)", 8, "there is no function `nofn`"),
        ("input.a\n + nofn(1)", 12, "there is no function `nofn`"),
        ("input.nofn(1)", 7, "there is no function `nofn`"),
        ("math", 1, "there is no function `math`"),
        ("'\\ud800'", 1, "Invalid string literal"),
        ("  ", 1, "the expression is empty"),
        ("", 1, "the expression is empty"),
    ],
)
def test_a_compile_error_has_its_column(source: str, column: int, words: str) -> None:
    error = next(find_errors(source, ANY))
    assert words in error.message
    assert error.column == column
    with pytest.raises(ExpressionError):
        compiled(source)


def test_every_compile_error_is_said() -> None:
    found = list(find_errors("a(1) + b(2)", ANY))
    assert [(error.message, error.column) for error in found] == [
        ("there is no function `a`", 1),
        ("there is no function `b`", 8),
    ]


def test_an_expression_has_at_most_ten_thousand_characters() -> None:
    (error,) = find_errors("1" + " + 1" * 2_500, ANY)
    assert error.message == "the expression is longer than 10000 characters"


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    assert list(find_errors("(" * 3_000 + "1" + ")" * 3_000, ANY))


def test_an_error_reads_as_one_sentence_with_its_hint() -> None:
    assert str(ExpressionError("a is wrong", 1, "write b")) == "a is wrong write b"
    assert str(ExpressionError("a is wrong")) == "a is wrong"
