"""CloudEvents over HTTP: what is read, what is refused, and how it is written."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from agentworkflow.events import CloudEvent, MalformedEvent
from agentworkflow.events.http import (
    decode,
    decode_any,
    encode_batch,
    encode_binary,
    encode_structured,
    from_json,
    to_json,
)

REQUIRED = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.example.order"}
HEADERS = {f"ce-{name}": value for name, value in REQUIRED.items()}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}


def event(**changes: Any) -> CloudEvent:
    return CloudEvent(**{**REQUIRED, **changes})


def refusal(
    headers: Mapping[str, str] | Iterable[tuple[str, str]], body: bytes = b""
) -> MalformedEvent:
    with pytest.raises(MalformedEvent) as caught:
        decode(headers, body)
    return caught.value


def structured(body: object) -> CloudEvent:
    return decode(STRUCTURED, body if isinstance(body, bytes) else json.dumps(body).encode())


# Binary mode


def test_binary_event_is_read() -> None:
    headers = {**HEADERS, "Content-Type": "application/json", "CE-Region": "eu", "host": "x"}
    expected = event(datacontenttype="application/json", extensions={"region": "eu"}, data={"a": 1})
    assert decode(headers, b'{"a": 1}') == expected


def test_headers_may_be_pairs() -> None:
    assert decode(list(HEADERS.items()), b"") == event()


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%41bc", "Abc"),
        ("%2525", "%25"),
        ("plain words", "plain words"),
        (" padded\t", "padded"),
        ('"quoted \\" text"', 'quoted " text'),
        ('a "b c" d', "a b c d"),
        ('"%20"', " "),
        ("back\\slash", "back\\slash"),
    ],
)
def test_header_values_are_unquoted_and_percent_decoded_once(raw: str, value: str) -> None:
    assert decode({**HEADERS, "ce-subject": raw}, b"").subject == value


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("caf\xe9", "ASCII"),
        ("100%", "send %25"),
        ("%4", "send %25"),
        ("%zz%20", "send %25"),
        ("%C0%A0", "not UTF-8"),
        ("%ff", "not UTF-8"),
        ('"open', "send %22"),
        ("%0A", "U+000A"),
        ("%ED%A0%80", "not UTF-8"),
    ],
)
def test_header_values_that_cannot_be_read_are_refused(raw: str, words: str) -> None:
    error = refusal({**HEADERS, "ce-subject": raw})
    assert error.attribute == "subject"
    assert words in str(error)


def test_repeated_attribute_headers_are_refused() -> None:
    error = refusal([*HEADERS.items(), ("Ce-Id", "1")])
    assert (error.attribute, "more than once" in str(error)) == ("id", True)


def test_repeated_content_type_is_refused() -> None:
    pairs = [*HEADERS.items(), ("content-type", "a/b"), ("Content-Type", "a/b")]
    assert "more than once" in str(refusal(pairs))


@pytest.mark.parametrize("content_type", ["", "  "])
def test_empty_content_type_is_refused(content_type: str) -> None:
    assert refusal({**HEADERS, "content-type": content_type}).attribute == "datacontenttype"


@pytest.mark.parametrize(
    "name", ["ce-datacontenttype", "ce-data", "ce-my-ext", "ce-my_ext", "ce-", "ce-data_base64"]
)
def test_headers_that_name_no_attribute_are_refused(name: str) -> None:
    error = refusal({**HEADERS, name: "application/json"})
    assert error.attribute == name.removeprefix("ce-")


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_required_header_is_named(name: str) -> None:
    error = refusal({key: v for key, v in HEADERS.items() if key != f"ce-{name}"})
    assert error.problem.to_json()["errors"] == [
        {"path": name, "message": "is missing: every CloudEvent has one"}
    ]


def test_a_request_that_is_no_event_is_told_so() -> None:
    error = refusal({"content-type": "application/json"}, b"{}")
    assert (error.attribute, error.problem.status) == (None, 400)
    assert "no ce-* headers" in str(error)


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        (None, b"", None),
        (None, b"\x00\xff", b"\x00\xff"),
        ("application/json", b"", None),
        ("application/json", b"null", None),
        ("application/json", b"\xef\xbb\xbf1", 1),
        ("application/vnd.x+json; charset=utf-16", '"€"'.encode("utf-16"), "€"),
        ("text/json", b"[1.5, true]", [1.5, True]),
        ("text/plain", "€".encode(), "€"),
        ('text/plain; charset="iso-8859-1"', b"\xe9", "é"),
        ("application/xml", b"<a/>", b"<a/>"),
        ("application/octet-stream", b"1", b"1"),
        ("application/json", b'"\\ud83d\\ude00"', "😀"),
    ],
)
def test_data_is_what_the_content_type_says(
    content_type: str | None, body: bytes, data: object
) -> None:
    headers = HEADERS if content_type is None else {**HEADERS, "content-type": content_type}
    assert decode(headers, body).data == data


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b" ", "not valid JSON"),
        (b"NaN", "NaN is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"1e999", "too large"),
        (b"1" * 5000, "not valid JSON"),
        (b'"\xff"', "not utf-8"),
        (b'"\\ud800"', "lone surrogate"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_malformed_json_is_refused_never_turned_into_text(body: bytes, words: str) -> None:
    error = refusal({**HEADERS, "content-type": "application/json"}, body)
    assert error.attribute == "data"
    assert words in str(error)


def test_unreadable_text_is_refused() -> None:
    assert refusal({**HEADERS, "content-type": "text/plain"}, b"\xff").attribute == "data"


@pytest.mark.parametrize("charset", ["klingon", "base64", "rot13", "utf\u2013 8"])
def test_unknown_charset_is_refused(charset: str) -> None:
    headers = {**HEADERS, "content-type": f'text/plain; charset="{charset}"'}
    assert refusal(headers, b"x").attribute == "datacontenttype"


def test_content_type_that_is_none_is_refused() -> None:
    assert refusal({**HEADERS, "content-type": "json"}).attribute == "datacontenttype"


# Structured mode


def test_structured_event_is_read_whatever_the_headers_say() -> None:
    headers = {"content-type": "Application/CloudEvents+JSON; charset=UTF-8", "ce-id": "other"}
    body = json.dumps({**REQUIRED, "n": 5, "b": False, "unset": None, "data": [1]}).encode()
    assert decode(headers, body) == event(extensions={"n": 5, "b": False}, data=[1])


def test_structured_body_may_have_another_charset() -> None:
    headers = {"content-type": "application/cloudevents+json; charset=utf-16"}
    assert decode(headers, json.dumps(REQUIRED).encode("utf-16")) == event()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"id": NaN}'])
def test_structured_body_that_is_no_json_is_refused(body: bytes) -> None:
    error = refusal(STRUCTURED, body)
    assert (error.attribute, error.problem.status) == (None, 400)


@pytest.mark.parametrize("body", [[], "text", 5, None, True])
def test_structured_body_that_is_no_object_is_refused(body: object) -> None:
    assert "is a JSON object, not" in str(refusal(STRUCTURED, json.dumps(body).encode()))


def test_repeated_attributes_are_refused_in_json() -> None:
    body = json.dumps(REQUIRED).replace('"id": "1"', '"id": "1", "id": "2"').encode()
    error = refusal(STRUCTURED, body)
    assert (error.attribute, "more than once" in str(error)) == ("id", True)


def test_repeated_keys_within_data_are_the_producers_own() -> None:
    body = json.dumps({**REQUIRED, "data": 0}).replace("0}", '{"a": 1, "a": 2}}').encode()
    assert structured(body).data == {"a": 2}


@pytest.mark.parametrize("value", [1.0, 1e3, 2**31, [], {}, 1.5])
def test_structured_extensions_are_strings_booleans_and_integers(value: object) -> None:
    error = refusal(STRUCTURED, json.dumps({**REQUIRED, "ext": value}).encode())
    assert error.attribute == "ext"


@pytest.mark.parametrize(
    ("members", "data"),
    [
        ({"data": None}, None),
        ({"data_base64": None}, None),
        ({"data": "text"}, "text"),
        ({"data": "5", "datacontenttype": "application/json"}, "5"),
        ({"data": "text", "datacontenttype": "text/plain"}, "text"),
        ({"data": "<é/>", "datacontenttype": "application/xml"}, "<é/>".encode()),
        ({"data": "é", "datacontenttype": "a/b; charset=latin-1"}, b"\xe9"),
        ({"data_base64": "eyAieHl6IjogMTIzIH0="}, b'{ "xyz": 123 }'),
        ({"data_base64": "MQ==", "datacontenttype": "application/json"}, 1),
        ({"data_base64": "4oKs", "datacontenttype": "text/plain"}, "€"),
        ({"data_base64": ""}, None),
    ],
)
def test_structured_data(members: dict[str, Any], data: object) -> None:
    assert structured({**REQUIRED, **members}).data == data


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"data": 1, "data_base64": "MQ=="}, "data"),
        ({"data": None, "data_base64": "MQ=="}, "data"),
        ({"data_base64": 1}, "data_base64"),
        ({"data_base64": "M"}, "data_base64"),
        ({"data_base64": "M!Q="}, "data_base64"),
        ({"data_base64": "é"}, "data_base64"),
        ({"data_base64": "ew==", "datacontenttype": "application/json"}, "data"),
        ({"data": {}, "datacontenttype": "text/plain"}, "data"),
        ({"data": "é", "datacontenttype": "a/b; charset=ascii"}, "data"),
    ],
)
def test_structured_data_that_contradicts_itself(members: dict[str, Any], path: str) -> None:
    assert refusal(STRUCTURED, json.dumps({**REQUIRED, **members}).encode()).attribute == path


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents",
        "application/cloudevents+avro",
        "application/cloudevents-batch+xml",
        "application/cloudevents+json extra",
    ],
)
def test_other_event_formats_are_refused(content_type: str) -> None:
    assert refusal({**HEADERS, "content-type": content_type}).problem.status == 415


def test_a_batch_is_refused_where_one_event_is_asked_for() -> None:
    assert refusal(BATCH, b"[]").problem.status == 415


def test_from_json_takes_what_a_program_made() -> None:
    assert from_json({**REQUIRED, "n": 5}) == event(extensions={"n": 5})


# Batches


def test_a_malformed_member_does_not_lose_its_neighbours() -> None:
    body = json.dumps([{**REQUIRED, "id": "a"}, {**REQUIRED, "id": ""}, 5, {**REQUIRED, "id": "b"}])
    first, empty, number, last = decode_any(BATCH, body.encode())
    assert [first, last] == [event(id="a"), event(id="b")]
    assert isinstance(empty, MalformedEvent)
    assert isinstance(number, MalformedEvent)
    assert (empty.attribute, number.attribute) == ("[1].id", "[2]")


def test_repeated_attributes_of_a_member_are_refused_alone() -> None:
    one = json.dumps(REQUIRED)
    twice = one.replace('"id": "1"', '"id": "1", "id": "1"')
    good, bad = decode_any(BATCH, f"[{one}, {twice}]".encode())
    assert good == event()
    assert isinstance(bad, MalformedEvent)
    assert bad.attribute == "[1].id"


def test_an_empty_batch_holds_nothing() -> None:
    assert decode_any(BATCH, b"[]") == []


@pytest.mark.parametrize("body", [b"{}", b"[", b"", b"null"])
def test_a_batch_that_cannot_be_read_is_one_refusal(body: bytes) -> None:
    [error] = decode_any(BATCH, body)
    assert isinstance(error, MalformedEvent)


def test_decode_any_reads_every_mode() -> None:
    sent = event(data=[1], datacontenttype="application/json")
    assert decode_any(*encode_binary(sent)) == [sent]
    assert decode_any(iter(encode_structured(sent)[0].items()), encode_structured(sent)[1]) == [
        sent
    ]
    assert decode_any(*encode_batch([sent, sent])) == [sent, sent]
    [error] = decode_any({}, b"")
    assert isinstance(error, MalformedEvent)


# Writing


def test_binary_headers_are_percent_encoded() -> None:
    sent = event(subject='Euro € 😀 "100%" ~é', extensions={"n": -5, "b": True, "e": ""})
    headers, body = encode_binary(sent)
    assert headers == {
        **HEADERS,
        "ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22100%25%22%20~%C3%A9",
        "ce-n": "-5",
        "ce-b": "true",
        "ce-e": "",
    }
    assert body == b""


@pytest.mark.parametrize(
    ("content_type", "data", "written", "body"),
    [
        (None, {"a": "é"}, "application/json", '{"a":"é"}'.encode()),
        (None, "text", "application/json", b'"text"'),
        (None, b"raw", None, b"raw"),
        (None, bytearray(b"raw"), None, b"raw"),
        ("application/json", None, "application/json", b""),
        ("application/json", b"[1]", "application/json", b"[1]"),
        ("text/plain; charset=latin-1", "é", "text/plain; charset=latin-1", b"\xe9"),
        ("application/xml", "<a/>", "application/xml", b"<a/>"),
    ],
)
def test_binary_data_is_written_by_its_type(
    content_type: str | None, data: object, written: str | None, body: bytes
) -> None:
    headers, sent = encode_binary(event(datacontenttype=content_type, data=data))
    assert (headers.get("content-type"), sent) == (written, body)


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        (None, float("nan")),
        (None, {"a": object()}),
        (None, "\ud800"),
        ("text/plain", {"a": 1}),
        ("text/plain; charset=ascii", "é"),
    ],
)
def test_data_that_cannot_be_written_is_refused(content_type: str | None, data: object) -> None:
    made = event(datacontenttype=content_type, data=data)
    with pytest.raises(MalformedEvent) as caught:
        encode_binary(made)
    assert caught.value.attribute == "data"


def test_data_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(MalformedEvent, match="cannot be written as JSON"):
        encode_structured(event(data=endless))


@pytest.mark.parametrize("data", ["\ud800", {"a": ["\udfff"]}])
def test_structured_text_that_no_encoding_can_hold_is_refused(data: object) -> None:
    with pytest.raises(MalformedEvent) as caught:
        encode_structured(event(data=data))
    assert caught.value.attribute == "data"


def test_an_event_about_an_event_does_not_travel_in_binary_mode() -> None:
    made = event(datacontenttype="application/cloudevents+json", data={})
    with pytest.raises(MalformedEvent, match="structured mode"):
        encode_binary(made)
    assert decode(*encode_structured(made)) == made


def test_structured_json_names_bytes_by_their_own_member() -> None:
    assert to_json(event(data=b"\xff")) == {
        **REQUIRED,
        "data_base64": base64.b64encode(b"\xff").decode(),
    }
    assert to_json(event(data=[1], extensions={"n": 1})) == {**REQUIRED, "n": 1, "data": [1]}
    assert to_json(event(datacontenttype="text/plain", data="x"))["data"] == "x"


def test_structured_text_that_is_no_string_is_refused() -> None:
    with pytest.raises(MalformedEvent, match="string or bytes"):
        to_json(event(datacontenttype="text/plain", data=[1]))
