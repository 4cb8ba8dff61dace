from typing import Any

import pytest

ORDER = {
    "items": [{"sku": "a", "count": 2}, {"sku": "b", "count": 3}],
    "customer": {"name": "Ada"},
    "address": {"city": "Turin"},
}


@pytest.fixture(scope="module")
def host(start_host: Any) -> Any:
    return start_host(
        {
            "typed": "orders:typed",
            "rest": "orders:rest",
            "about": "orders:about",
            "see": "orders:see",
            "picky": {
                "handler": "orders:picky",
                "inputSchema": {
                    "type": "object",
                    "properties": {"amount": {"type": "integer", "maximum": 10}},
                },
            },
            "size-of": "orders:size_of",
            "greeter": "orders:greeter",
        }
    )


def test_fields_become_parameters_by_name_converted_by_their_annotations(host: Any) -> None:
    answer = host.step("typed", ORDER | {"period": "week", "note": "soon"})
    assert answer.json() == {
        "items": ["Item", "Item"],
        "count": 5,
        "customer": "Customer",
        "vip": False,
        "city": "Turin",
        "period": "WEEK",
        "note": "soon",
    }


def test_absent_fields_take_the_defaults_of_their_parameters(host: Any) -> None:
    answer = host.step("typed", ORDER).json()
    assert (answer["period"], answer["note"]) == ("DAY", None)


def test_each_error_of_the_input_is_named_by_its_path(host: Any) -> None:
    answer = host.step(
        "typed",
        {"items": [{"sku": "a", "count": "many"}], "customer": {}, "period": "year"},
    )
    problem = answer.json()
    assert answer.type == "dev.agentworkflow.step.failed"
    assert problem["reason"] == "InvalidInput"
    assert {each["path"] for each in problem["errors"]} == {
        "items[0].count",
        "customer.name",
        "address",
        "period",
    }


def test_an_unknown_field_of_a_step_is_refused_with_the_nearest_name(host: Any) -> None:
    problem = host.step("typed", ORDER | {"perid": "day"}).json()
    assert problem["reason"] == "InvalidInput"
    assert problem["errors"] == [
        {"path": "perid", "message": "is no field of this function; did you mean 'period'?"}
    ]


def test_two_stars_take_what_is_left(host: Any) -> None:
    answer = host.step("rest", {"order": "A1", "tax": "7", "tip": 1})
    assert answer.json() == {"order": "A1", "fields": {"tax": 7, "tip": 1}}


def test_what_two_stars_take_is_checked_too(host: Any) -> None:
    problem = host.step("rest", {"order": "A1", "tax": "much"}).json()
    assert [each["path"] for each in problem["errors"]] == ["tax"]


def test_input_that_is_no_object_is_refused(host: Any) -> None:
    problem = host.step("typed", [1, 2]).json()
    assert problem["reason"] == "InvalidInput"
    assert "an array" in problem["detail"]


def test_a_schema_of_the_resource_is_checked_before_the_annotations(host: Any) -> None:
    assert host.step("picky", {"amount": 10}).json() == 10
    problem = host.step("picky", {"amount": 11}).json()
    assert problem["reason"] == "InvalidInput"
    assert [each["path"] for each in problem["errors"]] == ["amount"]


def test_a_context_says_which_attempt_this_is(host: Any) -> None:
    answer = host.step(
        "about",
        run="5b1f-00",
        attempt=2,
        headers={"ce-awfitem": "7", "ce-awfsession": "ada"},
    ).json()
    assert 50 < answer.pop("remaining") <= 60
    assert answer.pop("deadline").endswith("Z")
    assert answer == {
        "function": "about",
        "workflow": "shop",
        "namespace": "default",
        "run": "5b1f-00",
        "step": "about",
        "item": 7,
        "attempt": 2,
        "session": "ada",
        "trigger": None,
        "key": "5b1f-00/about/7",
    }


def test_an_event_parameter_gets_the_cloudevent_whatever_its_data(host: Any) -> None:
    answer = host.step("see", {"any": "field"}, run="r9-00").json()
    assert answer == {
        "id": "r9-00/see/1/requested",
        "type": "dev.agentworkflow.step.requested",
        "source": "/agentworkflow/default/shop",
        "data": {"any": "field"},
    }


def test_any_callable_works_as_a_handler(host: Any) -> None:
    assert host.step("greeter", {"name": "Ada"}).json() == "hello Ada"


def test_an_input_of_one_mebibyte_arrives_whole(host: Any) -> None:
    assert host.step("size-of", {"text": "x" * 1024 * 1024}).json() == 1024 * 1024


def test_the_schemas_are_published_without_context_and_event(host: Any) -> None:
    functions = {
        each["name"]: each for each in host.request("GET", "/functions").json()["functions"]
    }
    typed = functions["typed"]["inputSchema"]
    assert typed["type"] == "object"
    assert list(typed["properties"]) == ["items", "customer", "address", "period", "note"]
    assert typed["required"] == ["items", "customer", "address"]
    assert typed["properties"]["period"]["default"] == "day"
    assert typed["additionalProperties"] is False
    assert typed["$defs"]["Item"]["properties"]["count"] == {"title": "Count", "type": "integer"}
    assert functions["typed"]["description"] == "Says what it was given.\n\nWith its types."
    assert functions["about"]["inputSchema"]["properties"] == {}
    assert functions["see"]["inputSchema"]["additionalProperties"] is True
    assert functions["rest"]["inputSchema"]["additionalProperties"] == {"type": "integer"}
    assert functions["greeter"]["description"] == "Greets, as an object that can be called."
