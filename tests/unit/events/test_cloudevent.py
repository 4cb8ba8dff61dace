"""The CloudEvent value: always valid, immutable, and able to name what is wrong."""

import pickle
from typing import Any

import pytest

from agentworkflow.events import CloudEvent, MalformedEvent
from agentworkflow.events.problem import FieldError, Problem, malformed_message


def event(**changes: Any) -> CloudEvent:
    return CloudEvent(**{"id": "1", "source": "/shop", "type": "com.example.order", **changes})


def test_attributes_lists_what_is_present_and_no_data() -> None:
    made = event(subject="s", extensions={"amount": 5, "vip": True}, data={"a": 1})
    assert made.attributes() == {
        "specversion": "1.0",
        "id": "1",
        "source": "/shop",
        "type": "com.example.order",
        "subject": "s",
        "amount": 5,
        "vip": True,
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [("id", "1"), ("specversion", "1.0"), ("amount", 5), ("subject", None), ("data", None)],
)
def test_get_finds_attributes_by_name(name: str, expected: object) -> None:
    assert event(extensions={"amount": 5}, data="payload").get(name) == expected


def test_extensions_are_a_copy_of_what_was_given() -> None:
    given: dict[str, Any] = {"amount": 5}
    made = event(extensions=given)
    given["amount"] = [1]
    assert made.extensions == {"amount": 5}


def test_changes_make_a_new_checked_event() -> None:
    made = event(extensions={"awfrun": "r", "awfstep": "s", "region": "eu"})
    assert made.replace(subject="x").subject == "x"
    assert made.without_extensions("awf").extensions == {"region": "eu"}
    assert made.with_extensions({"region": "us", "n": 1}).extensions == {
        "awfrun": "r",
        "awfstep": "s",
        "region": "us",
        "n": 1,
    }
    with pytest.raises(MalformedEvent):
        made.replace(source="")


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(MalformedEvent) as caught:
        event(id="", source="a b", extensions={"Bad": "x", "ok": "y", "many": [1]})
    assert [error.path for error in caught.value.problem.errors] == ["id", "source", "Bad", "many"]
    assert caught.value.attribute == "id"
    assert caught.value.problem.status == 400


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
@pytest.mark.parametrize(
    ("value", "words"), [("", "is empty"), (None, "is missing"), (7, "must be a string")]
)
def test_required_attributes_are_nonempty_strings(name: str, value: object, words: str) -> None:
    with pytest.raises(MalformedEvent) as caught:
        event(**{name: value})
    assert caught.value.attribute == name
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["subject", "time", "datacontenttype", "dataschema"])
def test_optional_attributes_are_absent_or_not_empty(name: str) -> None:
    assert event(**{name: None}).get(name) is None
    with pytest.raises(MalformedEvent, match="or leave it out"):
        event(**{name: ""})


@pytest.mark.parametrize("version", ["0.3", "1", "1.0.2", "2.0", "1.0 "])
def test_other_spec_versions_are_refused(version: str) -> None:
    with pytest.raises(MalformedEvent, match=r"send '1\.0'"):
        event(specversion=version)


@pytest.mark.parametrize(
    "source",
    [
        "/",
        "#fragment",
        "?query",
        "a/b:c",
        "1-555-123-4567",
        "localhost.localdomain",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "mailto:cncf-wg-serverless@lists.cncf.io",
        "https://user:pw@[2001:db8::1]:8080/p/a%20th?q=1/2#f?",
        "//host/path",
        "https://[v1.fe:x]/",
        "s3://bucket/key;v=1",
        "x:",
        "https://",
    ],
)
def test_sources_that_are_uri_references(source: str) -> None:
    assert event(source=source).source == source


@pytest.mark.parametrize(
    "source",
    [
        "a b",
        "/заказы",
        "/a%2",
        "/a%zz",
        "1:2",
        "/a[b]",
        "http://ho st/",
        "/a\\b",
        "^",
        "#a#b",
        "<x>",
    ],
)
def test_sources_that_are_no_uri_references(source: str) -> None:
    with pytest.raises(MalformedEvent, match="RFC 3986"):
        event(source=source)


def test_dataschema_is_an_absolute_uri() -> None:
    pointer = "https://example.com/schema.json#/definitions/order"
    assert event(dataschema=pointer).dataschema == pointer
    with pytest.raises(MalformedEvent, match="no absolute URI"):
        event(dataschema="/schema.json")


@pytest.mark.parametrize(
    "time",
    [
        "2018-04-05T17:31:00Z",
        "2018-04-26T14:48:09+02:00",
        "2018-04-26t14:48:09.123456789z",
        "2000-02-29T00:00:00-23:59",
        "2016-12-31T23:59:60Z",
        "2017-01-01T00:59:60+01:00",
        "2016-12-31T15:59:60-08:00",
    ],
)
def test_times_of_rfc_3339(time: str) -> None:
    assert event(time=time).time == time


@pytest.mark.parametrize(
    "time",
    [
        "2018-04-05",
        "2018-04-05 17:31:00Z",
        "2018-04-05T17:31:00",
        "2018-04-05T17:31Z",
        "2018-13-05T17:31:00Z",
        "2018-00-05T17:31:00Z",
        "2018-02-29T17:31:00Z",
        "1900-02-29T17:31:00Z",
        "2018-04-31T17:31:00Z",
        "2018-04-00T17:31:00Z",
        "2018-04-05T24:00:00Z",
        "2018-04-05T17:60:00Z",
        "2018-04-05T17:31:61Z",
        "2018-04-05T17:31:60Z",
        "2018-04-05T17:31:00.Z",
        "2018-04-05T17:31:00+24:00",
        "2018-04-05T17:31:00+01:60",
        "2018-04-05T17:31:00+0100",
        "٢٠١٨-04-05T17:31:00Z",
        "yesterday",
    ],
)
def test_times_that_are_none(time: str) -> None:
    with pytest.raises(MalformedEvent, match="RFC 3339"):
        event(time=time)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\nb", "U+000A"),
        ("\x7f", "U+007F"),
        ("\x9f", "U+009F"),
        ("\ufdd0", "U+FDD0"),
        ("\U0010ffff", "U+10FFFF"),
        ("\ud800", "U+D800"),
    ],
)
def test_disallowed_characters_are_refused_in_every_string(text: str, code: str) -> None:
    for changes in ({"subject": text}, {"extensions": {"note": text}}):
        with pytest.raises(MalformedEvent) as caught:
            event(**changes)
        assert code in str(caught.value)


def test_strings_may_hold_any_other_character() -> None:
    assert event(subject="Euro € 😀 ñ").subject == "Euro € 😀 ñ"


@pytest.mark.parametrize("name", ["data", "id", "camelCase", "under_score", "dash-ed", "", "é"])
def test_extension_names_follow_the_rule(name: str) -> None:
    with pytest.raises(MalformedEvent) as caught:
        event(extensions={name: "x"})
    assert caught.value.attribute == name


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31), True, "", "text"])
def test_extension_values_of_the_three_types(value: object) -> None:
    assert event(extensions={"x": value}).get("x") == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**31, "32-bit"),
        (-(2**31) - 1, "32-bit"),
        (1.5, "the number 1.5"),
        ([], "an array"),
        ({}, "an object"),
        (None, "null"),
        (b"x", "bytes"),
    ],
)
def test_other_extension_values_are_refused(value: object, words: str) -> None:
    with pytest.raises(MalformedEvent, match=words):
        event(extensions={"x": value})


def test_a_boolean_is_no_string() -> None:
    with pytest.raises(MalformedEvent, match="a boolean"):
        event(subject=True)


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "TEXT/Plain; CharSet=utf-8", 'a/b;c="d;\\"e";', "a/b ; c=d ;; e=f"],
)
def test_media_types(media_type: str) -> None:
    assert event(datacontenttype=media_type).datacontenttype == media_type


@pytest.mark.parametrize("media_type", ["json", "a/", "/b", "a/b c", "a/b;c=", 'a/b;c="d', "é/b"])
def test_what_is_no_media_type(media_type: str) -> None:
    with pytest.raises(MalformedEvent, match="no media type"):
        event(datacontenttype=media_type)


def test_events_and_refusals_pass_between_processes() -> None:
    made = event(extensions={"x": 1}, data=b"raw")
    assert pickle.loads(pickle.dumps(made)) == made
    refusal = malformed_message("no")
    assert pickle.loads(pickle.dumps(refusal)).problem == refusal.problem


def test_problem_leaves_out_what_is_empty() -> None:
    assert Problem(title="Oops").to_json() == {"type": "about:blank", "title": "Oops"}


def test_problem_keeps_its_standard_members_from_extensions() -> None:
    problem = Problem(
        title="Input refused",
        status=422,
        detail="one field",
        errors=(FieldError("order.id", "is missing"),),
        extensions={"reason": "InvalidInput", "title": "other"},
    )
    assert problem.to_json() == {
        "type": "about:blank",
        "title": "Input refused",
        "status": 422,
        "detail": "one field",
        "errors": [{"path": "order.id", "message": "is missing"}],
        "reason": "InvalidInput",
    }
    assert malformed_message("all of it").attribute is None
