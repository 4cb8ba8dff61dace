"""YAML as kubectl reads it, with the place of every value and what does not parse."""

import pytest

from agentworkflow.workflow.findings import Fault
from agentworkflow.workflow.source import Document, read_documents


def only(text: str) -> Document:
    documents, findings = read_documents(text, "w.yaml")
    assert [str(found) for found in findings] == []
    [document] = documents
    return document


def found(text: str) -> list[str]:
    return [str(finding) for finding in read_documents(text, "w.yaml")[1]]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("text", "text"),
        ("'5'", "5"),
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("1_000", 1000),
        ("0b101", 5),
        ("0xFf", 255),
        ("0o17", 15),
        ("017", 15),
        ("089", 89),
        ("1.5", 1.5),
        ("1_0.5_0", 10.5),
        ("1e3", 1000),
        ("2.0", 2),
        ("1e300", 1e300),
        (".5", 0.5),
        ("1:30", "1:30"),
        ("2026-11-20", "2026-11-20"),
        ("yes", True),
        ("N", False),
        ("On", True),
        ("off", False),
        ("true", True),
        ("~", None),
        ("null", None),
        ("", None),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!bool 'true'", True),
        ("<", "<"),
    ],
)
def test_a_bare_word_is_what_kubectl_makes_of_it(written: str, value: object) -> None:
    read = only(f"a: {written}").value["a"]

    assert (read, type(read)) == (value, type(value))


def test_a_key_is_the_text_that_is_written() -> None:
    assert only("{on: 1, yes: 2, 3: 4, null: 5}").value == {"on": 1, "yes": 2, "3": 4, "null": 5}


def test_documents_are_read_apart_and_empty_ones_left_out() -> None:
    documents, findings = read_documents("---\na: 1\n---\n---\nb: 2\n", "w.yaml")

    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}]
    assert findings == []


def test_anchors_and_merges_are_written_out() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {y: 4, <<: [*a, {z: 5}]}\nd: [*a]"

    value = only(text).value

    assert value["b"] == {"x": 1, "y": 3}
    assert value["c"] == {"x": 1, "y": 4, "z": 5}
    assert value["d"] == [{"x": 1, "y": 2}]


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        (Fault(("a", 1, "b"), ""), (3, 8)),
        (Fault(("a", 1, "b"), "", at_key=True), (3, 5)),
        (Fault(("a", 1, "missing"), ""), (3, 5)),
        (Fault(("a", 1, "missing"), "", at_key=True), (3, 5)),
        (Fault(("a", 7), ""), (2, 3)),
        (Fault((), ""), (1, 1)),
        (Fault(("q",), "", column=5), (4, 9)),
        (Fault(("p",), "", column=5), (5, 8)),
        (Fault(("e",), "", column=5), (6, 4)),
        (Fault(("m",), "", column=5), (7, 4)),
        (Fault(("q", "below"), "", column=5), (4, 4)),
    ],
)
def test_a_path_leads_to_its_line_and_column(fault: Fault, place: tuple[int, int]) -> None:
    text = 'a:\n  - 1\n  - b: 2\nq: "${a.b}"\np: ${a.b}\ne: "\\u0041${a.b}"\nm: |\n  ${a\n  .b}\n'

    assert only(text).locate(fault) == place


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            'w.yaml:3:1: a: "a" is written twice, first on line 1 — keep one of them',
        ),
        (
            "a:\n\t- 1\n",
            (
                "w.yaml:2:1: the YAML does not parse: found character '\\t'"
                " that cannot start any token (while scanning for the next token)"
                " — indent with spaces, not with tabs"
            ),
        ),
        (
            "a: {b: ${input}}\n",
            (
                "w.yaml:1:9: the YAML does not parse: expected ',' or '}', but got '{'"
                ' (while parsing a flow mapping) — put the expression in quotes: "${…}"'
            ),
        ),
        (
            "a: when: b\n",
            (
                "w.yaml:1:8: the YAML does not parse: mapping values are not allowed here"
                " — put a text with a colon in quotes, or correct the indentation"
            ),
        ),
        (
            "a:\n  b: 1\n c: 2\n",
            (
                "w.yaml:3:2: the YAML does not parse: expected <block end>, but found"
                " '<block mapping start>' (while parsing a block mapping)"
                " — correct the indentation, so that fields of one object start in one column"
            ),
        ),
        (
            "a: [1, 2\nb: 3\n",
            (
                "w.yaml:2:2: the YAML does not parse: expected ',' or ']', but got ':'"
                " (while parsing a flow sequence) — close the bracket or quote, or add the comma"
            ),
        ),
        (
            "a: 1\nb\nc: 2\n",
            (
                "w.yaml:3:1: the YAML does not parse: could not find expected ':'"
                " (while scanning a simple key) — write name: value"
            ),
        ),
        (
            'a: "b\n',
            (
                "w.yaml:2:1: the YAML does not parse: found unexpected end of stream"
                " (while scanning a quoted scalar) — close the quote or bracket that was opened"
            ),
        ),
        (
            "a: *b\n",
            (
                "w.yaml:1:4: the YAML does not parse: found undefined alias 'b'"
                " — put a text that starts with * in quotes, or define the anchor with & first"
            ),
        ),
        (
            "a: @b\n",
            (
                "w.yaml:1:4: the YAML does not parse: found character '@'"
                " that cannot start any token (while scanning for the next token)"
                " — put the text in quotes"
            ),
        ),
        (
            "a: !<x\n",
            (
                "w.yaml:1:7: the YAML does not parse: expected '>', but found '\\n'"
                " (while parsing a tag) — correct the line"
            ),
        ),
        (
            "a: 1\nb: \x01\n",
            "w.yaml:2:4: the character '\\x01' is not allowed in YAML — remove it",
        ),
        ("a: .inf\n", "w.yaml:1:4: a: .inf is no number that JSON can hold"),
        ("a: -.INF\n", "w.yaml:1:4: a: -.INF is no number that JSON can hold"),
        ("a: .NaN\n", "w.yaml:1:4: a: .NaN is no number that JSON can hold"),
        (
            "a: !!binary aGk=\n",
            "w.yaml:1:4: a: the tag tag:yaml.org,2002:binary is not supported — leave it out",
        ),
        ("a: {[b]: 1}\n", "w.yaml:1:5: a: a key must be a text — write name: value"),
        (
            "a: {<<: 3}\n",
            "w.yaml:1:9: a: << takes an object — name an anchor of one: <<: *name",
        ),
        ("a: &a [*a]\n", "w.yaml:1:4: a[0]: an alias holds itself — write the value out"),
        ("a: !!bool x\n", 'w.yaml:1:4: a: "x" is no bool — correct it, or leave the tag out'),
        ("a: !!int x\n", 'w.yaml:1:4: a: "x" is no int — correct it, or leave the tag out'),
        ("a: !!float x\n", 'w.yaml:1:4: a: "x" is no float — correct it, or leave the tag out'),
    ],
)
def test_what_cannot_be_read_is_found_with_advice(text: str, finding: str) -> None:
    assert found(text) == [finding]


def test_what_was_read_before_an_error_is_kept() -> None:
    documents, findings = read_documents("a: 1\n---\nb: [\n", "w.yaml")

    assert [document.value for document in documents] == [{"a": 1}]
    assert len(findings) == 1


def test_a_file_that_is_nested_without_end_is_refused() -> None:
    assert found("[" * 5000) == ["w.yaml:1:1: the file is nested too deep — flatten it"]


def test_aliases_that_multiply_are_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]

    findings = found("\n".join(levels))

    assert len(findings) == 1
    assert findings[0].endswith("the document has more than 100000 values — split it")
