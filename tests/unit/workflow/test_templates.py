"""Values with `${…}` in them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentworkflow.workflow.expressions import EvaluationError, ExpressionError, Scope
from agentworkflow.workflow.parts import INPUT, SESSION, output_of
from agentworkflow.workflow.templates import (
    check_template,
    compile_single,
    compile_template,
    is_template,
)

ANY = Scope(every_step=True)


def value(template: Any, **bindings: Any) -> Any:
    return compile_template(template, ANY).evaluate(bindings)


def test_a_whole_expression_keeps_its_type() -> None:
    for given_value in (None, 1, 1.5, True, "a", [1], {"a": 1}):
        assert value("${input}", input=given_value) == given_value


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a ${input.n} b", "a 1 b"),
        ("${input.n}${input.s}", "1x"),
        (" ${input.n}", " 1"),
        ("n ${input.n}\n", "n 1\n"),
        ("${input.t}-${input.z}-${input.f}", "true-null-1.5"),
        ("got ${input.o}", 'got {"é": [1, "x"]}'),
        ("${ input.n }", 1),
        ("${\n  input.n\n}", 1),
    ],
)
def test_text_around_an_expression_interpolates_it(template: str, expected: Any) -> None:
    given_input = {"n": 1, "s": "x", "t": True, "z": None, "f": 1.5, "o": {"é": [1, "x"]}}
    assert value(template, input=given_input) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$${input}", "${input}"),
        ("a $${x} ${input}", "a ${x} v"),
        ("$${", "${"),
        ("$$${input}", "$${input}"),
        ("$", "$"),
        ("$$", "$$"),
        ("$ {input}", "$ {input}"),
        ("{input}", "{input}"),
        ("costs 5$", "costs 5$"),
        ("}", "}"),
        ("", ""),
    ],
)
def test_a_dollar_is_only_special_before_a_brace(template: str, expected: str) -> None:
    assert value(template, input="v") == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{'a': {'b': 1}}", {"a": {"b": 1}}),
        ("{'}': 1}", {"}": 1}),
        ("{\"}\": '{'}", {"}": "{"}),
        ("'it\\'s } here'", "it's } here"),
        ("'\\\\'", "\\"),
        ("'''a ' } b'''", "a ' } b"),
        ('"""a " } b"""', 'a " } b'),
        ("'''a\n}'''", "a\n}"),
        ("r'a\\b}'", "a\\b}"),
        ("R\"'\\d}\" + '}'", "'\\d}}"),
        ("'' + '}'", "}"),
        ("'${x}'", "${x}"),
        ("[{'a': 1}].map(x, {'b': x.a})", [{"b": 1}]),
        ("1 // a comment with } and ' in it\n", 1),
        ("6 / 2 / 3", 1),
        ("'http://x/}'", "http://x/}"),
    ],
)
def test_braces_in_maps_strings_and_comments_do_not_end_an_expression(
    source: str, expected: Any
) -> None:
    assert value(f"${{{source}}}") == expected
    assert value(f"<${{{source}}}>").startswith("<")


@pytest.mark.parametrize(
    ("template", "column"),
    [
        ("${input", 1),
        ("${", 1),
        ("ab ${input", 4),
        ("${input} ${'}'", 10),
        ("${{'a': 1}", 1),
        ("${'''}''", 1),
        ("${1 // }", 1),
    ],
)
def test_an_expression_that_is_not_closed_is_told(template: str, column: int) -> None:
    (finding,) = check_template(template, ANY)
    assert finding.message == "`${` is not closed"
    assert finding.hint == "add the missing `}`, or write `$${`"
    assert finding.column == column
    with pytest.raises(ExpressionError):
        compile_template(template, ANY)


def test_templates_stand_anywhere_in_a_value_but_not_in_keys() -> None:
    template = {"a": ["${input}", {"${b}": "x ${input}"}], "n": 1, "z": None, "t": True}
    expected = {"a": [5, {"${b}": "x 5"}], "n": 1, "z": None, "t": True}
    assert value(template, input=5) == expected


def test_a_template_knows_its_parts_and_steps() -> None:
    template = compile_template({"a": "${input}", "b": ["x ${session} ${steps.s.state}"]}, ANY)
    assert template.parts == {INPUT, SESSION}
    assert template.steps == {"s"}
    assert [e.source for e in template.expressions] == ["input", "session", "steps.s.state"]
    assert compile_template({"a": 1}, ANY).parts == frozenset()


def test_a_reference_is_one_whole_output() -> None:
    assert compile_template("${steps.s.output}", ANY).reference == "s"
    assert compile_template("${steps.s.output} ", ANY).reference is None
    assert compile_template({"a": "${steps.s.output}"}, ANY).reference is None
    assert compile_template("text", ANY).reference is None
    assert compile_template("${steps.s.output}", ANY).parts == {output_of("s")}


def test_an_error_in_a_template_names_its_expression() -> None:
    with pytest.raises(EvaluationError) as caught:
        value({"a": "x ${input.no}"}, input={})
    assert caught.value.source == "input.no"


def test_findings_have_their_path_and_column_in_the_string() -> None:
    template = {"a": [1, "ok ${input} and ${nope}"], "b": "${ alsonot }", "c": "${input}"}
    found = check_template(template, ANY)
    assert [(f.path, f.message, f.column) for f in found] == [
        (("a", 1), "`nope` is not known", 19),
        (("b",), "`alsonot` is not known", 4),
    ]
    assert check_template(template["c"], ANY) == []


def test_an_empty_expression_is_told() -> None:
    (finding,) = check_template("a ${} b", ANY)
    assert (finding.message, finding.column) == ("the expression is empty", 5)


def test_an_error_without_a_column_keeps_none() -> None:
    (finding,) = check_template("${" + "1" * 10_001 + "}", ANY)
    assert finding.column is None


@pytest.mark.parametrize("text", ["x", "x ${input}", "${a} ${b}", "input.x > 1", "", "$${a}"])
def test_a_place_for_one_expression_takes_nothing_else(text: str) -> None:
    (finding,) = check_template(text, ANY, whole=True)
    assert finding.message == "this has to be one whole expression"
    assert finding.path == ()
    with pytest.raises(ExpressionError, match="one whole expression"):
        compile_single(text, ANY)


@pytest.mark.parametrize("other", [1, True, ["${input}"], {"a": "${input}"}])
def test_a_place_for_one_expression_takes_no_other_value(other: Any) -> None:
    (finding,) = check_template(other, ANY, whole=True)
    assert finding.message == "this has to be one whole expression"


def test_a_place_for_one_expression_checks_it() -> None:
    assert check_template("${input.a}", ANY, whole=True) == []
    (finding,) = check_template("${nope}", ANY, whole=True)
    assert finding.message == "`nope` is not known"
    assert compile_single("${ 1 + 1 }", ANY).evaluate({}) == 2


def test_whether_a_value_holds_an_expression() -> None:
    assert is_template({"a": [1, {"b": "x ${y}"}]})
    assert not is_template({"${a}": ["$", 1, None, "{}"]})


@given(st.text(st.characters(exclude_characters="$")))
def test_text_without_a_dollar_is_itself(text: str) -> None:
    assert value({"a": [text]}) == {"a": [text]}


@given(st.text("ab$", max_size=12), st.text("ab$", max_size=12))
def test_text_around_an_expression_is_kept(before: str, after: str) -> None:
    # A dollar right before `${` is the escape.
    before = before.rstrip("$")
    assert value(f"{before}${{input}}{after}|", input="X") == f"{before}X{after}|"


@given(st.text())
def test_checking_never_raises(text: str) -> None:
    check_template(text, ANY)
    check_template("${" + text + "}", ANY)
    check_template(text, ANY, whole=True)


def test_the_line_break_that_ends_a_block_string_leaves_the_expression_its_type() -> None:
    template = compile_template("${input.n}\n", Scope())
    assert template.evaluate({"input": {"n": [1]}}) == [1]


def test_white_space_between_two_expressions_is_text() -> None:
    template = compile_template("${input.n} ${input.n}", Scope())
    assert template.evaluate({"input": {"n": 1}}) == "1 1"
