"""Trigger filters: the seven dialects, as Knative's own broker judges them."""

import pickle
from typing import Any

import pytest

from agentworkflow.events import CloudEvent
from agentworkflow.events.filters import FilterError, compile_filters

EVENT = CloudEvent(
    id="A-1",
    source="/shop/orders",
    type="com.example.order.created",
    dataschema="https://example.com/s",
    extensions={"amount": 150, "vip": True, "region": "eu", "blank": ""},
)


def passes(*filters: dict[str, Any]) -> bool:
    return compile_filters(filters).matches(EVENT)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"exact": {"type": "com.example.order.created"}}, True),
        ({"exact": {"type": "com.example.order"}}, False),
        ({"exact": {"type": "com.example.order.created", "region": "eu"}}, True),
        ({"exact": {"type": "com.example.order.created", "region": "us"}}, False),
        ({"exact": {"specversion": "1.0"}}, True),
        ({"exact": {"amount": "150"}}, True),
        ({"exact": {"amount": "0150"}}, False),
        ({"exact": {"vip": "true"}}, True),
        ({"exact": {"vip": "True"}}, False),
        ({"exact": {"subject": "x"}}, False),
        ({"exact": {"nothing": "x"}}, False),
        ({"exact": {"blank": "x"}}, False),
        ({"exact": {"schemaurl": "https://example.com/s"}}, True),
        ({"prefix": {"type": "com.example."}}, True),
        ({"prefix": {"type": "com.example.", "source": "/shop"}}, True),
        ({"prefix": {"type": "com.example.", "source": "/x"}}, False),
        ({"prefix": {"type": "Com."}}, False),
        ({"prefix": {"amount": "1"}}, True),
        ({"prefix": {"vip": "tr"}}, True),
        ({"prefix": {"nothing": "x"}}, False),
        ({"suffix": {"type": ".created"}}, True),
        ({"suffix": {"type": ".created", "region": "eu"}}, True),
        ({"suffix": {"amount": "50"}}, True),
        ({"suffix": {"subject": ".csv"}}, False),
        ({"not": {"exact": {"region": "us"}}}, True),
        ({"not": {"exact": {"region": "eu"}}}, False),
        ({"not": {"exact": {"nothing": "x"}}}, True),
        ({"not": {"not": {"prefix": {"region": "e"}}}}, True),
        ({"not": {"cesql": "nothing = 1"}}, True),
        ({"all": [{"exact": {"region": "eu"}}, {"prefix": {"type": "com."}}]}, True),
        ({"all": [{"exact": {"region": "eu"}}, {"prefix": {"type": "org."}}]}, False),
        ({"all": [{"exact": {"region": "eu"}}]}, True),
        ({"any": [{"exact": {"region": "us"}}, {"prefix": {"type": "com."}}]}, True),
        ({"any": [{"exact": {"region": "us"}}, {"prefix": {"type": "org."}}]}, False),
        ({"any": [{"exact": {"region": "us"}}]}, False),
        ({"cesql": "amount > 100 AND region IN ('eu', 'us')"}, True),
        ({"cesql": "amount > 200"}, False),
        ({"cesql": "amount"}, False),
        ({"cesql": "nothing = 1 OR TRUE"}, False),
    ],
)
def test_each_dialect(spec: dict[str, Any], expected: bool) -> None:
    assert passes(spec) is expected


def test_no_filter_passes_every_event() -> None:
    assert passes() is True


def test_all_filters_of_the_list_must_pass() -> None:
    assert passes({"exact": {"region": "eu"}}, {"cesql": "vip"}) is True
    assert passes({"exact": {"region": "eu"}}, {"cesql": "NOT vip"}) is False


def test_numbers_from_headers_are_compared_as_numbers_by_cesql() -> None:
    event = EVENT.with_extensions({"amount": "0150"})
    assert compile_filters([{"cesql": "amount = 150"}]).matches(event) is True


def test_exact_types_are_those_asked_for() -> None:
    compiled = compile_filters(
        [
            {"exact": {"type": "a", "region": "eu"}},
            {"any": [{"exact": {"type": "b"}}, {"all": [{"exact": {"type": "c"}}]}]},
            {"not": {"exact": {"type": "d"}}},
            {"prefix": {"type": "e"}},
            {"exact": {"region": "f"}},
            {"cesql": "type = 'g'"},
        ]
    )
    assert compiled.exact_types == {"a", "b", "c"}
    assert compile_filters([]).exact_types == frozenset()


DEEP: dict[str, Any] = {"exact": {"type": "a"}}
for _ in range(60):
    DEEP = {"not": DEEP}


@pytest.mark.parametrize(
    ("filters", "path", "words"),
    [
        ({"exact": {"type": "a"}}, "", "must be a list of filters, not an object"),
        ("exact", "", "must be a list of filters, not 'exact'"),
        (None, "", "not null"),
        (["a"], "[0]", "must be an object with one dialect, not 'a'"),
        ([{}], "[0]", "is empty"),
        ([{"exacto": {}}], "[0].exacto", "write exact, prefix, suffix, all, any, not or cesql"),
        ([{"exact": {"a": "b"}, "not": {}}], "[0]", "names exact and not"),
        ([{"exact": {"a": "b"}}, {"exact": {}}], "[1].exact", "is empty"),
        ([{"prefix": []}], "[0].prefix", "must be an object of attributes, not a list"),
        ([{"exact": {"type": ""}}], "[0].exact.type", "is empty"),
        ([{"exact": {"amount": 5}}], "[0].exact.amount", "must be a string, not 5"),
        ([{"exact": {"Type": "a"}}], "[0].exact.Type", "is no attribute name"),
        ([{"exact": {"1st": "a"}}], "[0].exact.1st", "starts with a letter"),
        ([{"exact": {7: "a"}}], "[0].exact.7", "is no attribute name"),
        ([{"all": []}], "[0].all", "is empty"),
        ([{"any": {}}], "[0].any", "must be a list of filters"),
        ([{"any": [{"not": {"suffix": {}}}]}], "[0].any[0].not.suffix", "is empty"),
        ([{"not": [{}]}], "[0].not", "not a list"),
        ([{"cesql": 5}], "[0].cesql", "must be a CESQL expression in a string, not 5"),
        ([{"cesql": ""}], "[0].cesql", "line 1, column 1: the expression is empty"),
        ([{"any": [{"cesql": "a ="}]}], "[0].any[0].cesql", "line 1, column 4"),
        ([{"cesql": "TRUE OR LEN(a) = 1"}], "[0].cesql", "did you mean LENGTH?"),
        ([DEEP], "[0]" + ".not" * 51, "nest more than 50 levels"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_path(filters: Any, path: str, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filters(filters)
    assert caught.value.path == path
    assert words in caught.value.message
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
