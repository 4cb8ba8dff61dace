import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Optional, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from agentworkflow import Context, Event, function
from agentworkflow.functions.binding import InputRefused, bind, join_path
from agentworkflow.functions.signature import SignatureError, read_signature

if TYPE_CHECKING:
    from decimal import Context as DecimalContext

EVENT = Event(id="1", source="/s", type="t")


def call(handler: Callable[..., Any], data: Any, *, strict: bool = True) -> Any:
    signature = read_signature(handler)
    positional, named = bind(signature, data, context=Context(run="r"), event=EVENT, strict=strict)
    return handler(*positional, **named)


def refusals(handler: Callable[..., Any], data: Any) -> dict[str, str]:
    with pytest.raises(InputRefused) as caught:
        call(handler, data)
    return {each.path: each.message for each in caught.value.errors}


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Node(TypedDict):
    value: int
    children: NotRequired[list["Node"]]


@dataclass
class Point:
    x: int
    y: int = 0


class Model(BaseModel):
    when: date
    points: list[Point] = Field(default_factory=list)


def test_each_kind_of_annotation_is_converted() -> None:
    def handler(  # noqa: PLR0917 - one parameter per kind
        a: int,
        b: float,
        c: Decimal,
        d: date,
        e: UUID,
        f: Size,
        g: Point,
        h: Model,
        i: Node,
        j: set[int],
        k: tuple[int, str],
        l: Literal["x", "y"],  # noqa: E741 - one letter each
        m: Annotated[int, Field(gt=3)],
        n: bytes,
        o: Any,
    ) -> tuple[Any, ...]:
        return (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)

    identity = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    assert call(
        handler,
        {
            "a": 4.0,
            "b": 1,
            "c": "1.10",
            "d": "2026-01-31",
            "e": identity,
            "f": "l",
            "g": {"x": 1},
            "h": {"when": "2026-02-01", "points": [{"x": 1, "y": 2}]},
            "i": {"value": 1, "children": [{"value": 2}]},
            "j": [1, 1, 2],
            "k": [1, "z"],
            "l": "x",
            "m": 4,
            "n": "bytes",
            "o": {"any": "thing"},
        },
    ) == (
        4,
        1.0,
        Decimal("1.10"),
        date(2026, 1, 31),
        UUID(identity),
        Size.LARGE,
        Point(1, 0),
        Model(when=date(2026, 2, 1), points=[Point(1, 2)]),
        {"value": 1, "children": [{"value": 2}]},
        {1, 2},
        (1, "z"),
        "x",
        4,
        b"bytes",
        {"any": "thing"},
    )


def test_errors_carry_the_whole_path() -> None:
    def handler(model: Model, tree: Node, limit: Annotated[int, Field(lt=5)]) -> None: ...

    found = refusals(
        handler,
        {
            "model": {"when": "soon", "points": [{"x": 1}, {"x": "one"}]},
            "tree": {"value": 1, "children": [{"value": "two"}]},
            "limit": 9,
        },
    )
    assert list(found) == ["model.when", "model.points[1].x", "tree.children[0].value", "limit"]


def test_a_default_is_used_as_it_is_and_shown_in_the_schema() -> None:
    def handler(size: Size = Size.SMALL, lock: Any = threading.Lock) -> Any:
        return size, lock

    schema = read_signature(handler).input_schema
    assert schema["properties"]["size"]["default"] == "s"
    assert "default" not in schema["properties"]["lock"]
    assert call(handler, {}) == (Size.SMALL, threading.Lock)


def test_optional_without_a_default_is_still_required() -> None:
    def handler(note: Optional[str]) -> str | None:  # noqa: UP045 - authors write both
        return note

    assert call(handler, {"note": None}) is None
    assert refusals(handler, {}) == {"note": "is missing, and has no default"}


def test_names_that_pydantic_reserves_are_ordinary_fields() -> None:
    def handler(schema: int, model_config: int, json: int, copy: int, _x: int, **rest: int) -> int:
        return schema + model_config + json + copy + _x + sum(rest.values())

    fields = {"schema": 1, "model_config": 2, "json": 3, "copy": 4, "_x": 5, "self": 6}
    assert call(handler, fields) == 21


def test_positional_only_parameters_are_filled_by_name_too() -> None:
    def handler(a: int, ctx: Context, b: int = 7, /, *, c: int = 1) -> tuple[Any, ...]:
        return a, ctx.run, b, c

    assert call(handler, {"a": 2, "b": 3, "c": 4}) == (2, "r", 3, 4)
    assert call(handler, {"a": 2}) == (2, "r", 7, 1)


def test_context_and_event_are_recognised_however_they_are_written() -> None:
    def handler(
        a: Context,
        b: "Context",
        c: Context | None,
        d: Annotated[Event, "mine"],
        e: Optional[Event] = None,  # noqa: UP045
    ) -> list[str]:
        return [type(each).__name__ for each in (a, b, c, d, e)]

    signature = read_signature(handler)
    assert signature.input_schema["properties"] == {}
    assert call(handler, {"x": 1}) == ["Context"] * 3 + ["CloudEvent"] * 2


def test_a_context_imported_for_type_checking_only_is_recognised() -> None:
    handler = lambda ctx: ctx.run  # noqa: E731
    handler.__annotations__ = {"ctx": "somewhere.Context"}
    assert call(handler, {}) == "r"


def test_another_type_imported_for_type_checking_only_says_what_to_do() -> None:
    def handler(numbers: "DecimalContext") -> None: ...

    with pytest.raises(SignatureError, match="outside of `if TYPE_CHECKING:`"):
        read_signature(handler)


def test_a_type_that_no_json_fills_is_named() -> None:
    def handler(lock: threading.Event) -> None: ...

    with pytest.raises(SignatureError, match="parameter 'lock'"):
        read_signature(handler)


def test_partials_wrappers_methods_and_objects_are_handlers() -> None:
    class Service:
        """A service."""

        async def __call__(self, x: int) -> int:
            return x

        def method(self, x: int) -> int:
            """A method."""
            return x

    def plain(x: int, y: int) -> int:
        return x + y

    @functools.wraps(plain)
    def wrapped(*args: Any, **named: Any) -> int:
        return plain(*args, **named)

    assert call(functools.partial(plain, y=2), {"x": 1}) == 3
    assert call(wrapped, {"x": 1, "y": 4}) == 5
    assert call(Service().method, {"x": 6}) == 6
    assert read_signature(Service()).is_async
    assert read_signature(Service()).description == "A service."
    assert read_signature(Service().method).description == "A method."


def test_where_a_handler_runs_follows_from_its_kind_and_its_isolation() -> None:
    def sync() -> None: ...

    def thread() -> None: ...

    async def loop() -> None: ...

    async def process() -> None: ...

    function(isolation="Thread")(thread)
    function(isolation="Process")(process)
    found = [read_signature(each).in_worker for each in (sync, thread, loop, process)]
    assert found == [False, True, True, False]


def test_the_result_has_a_schema_where_its_annotation_has_one() -> None:
    def model() -> Model: ...  # type: ignore[empty-body]

    def unknown() -> threading.Event: ...  # type: ignore[empty-body]

    def silent(): ...  # type: ignore[no-untyped-def]  # noqa: ANN202

    shown = read_signature(model).output_schema
    assert shown is not None
    assert shown["properties"]["when"] == {"format": "date", "title": "When", "type": "string"}
    assert read_signature(unknown).output_schema is None
    assert read_signature(silent).output_schema is None


def test_unknown_fields_are_refused_only_when_strict() -> None:
    def handler(order: int = 1) -> int:
        return order

    assert call(handler, {"other": 1}, strict=False) == 1
    assert refusals(handler, {"quantity": 1}) == {
        "quantity": "is no field of this function; it takes order"
    }
    assert call(lambda: 5, "any text", strict=False) == 5
    assert refusals(lambda: 5, {"a": 1}) == {"a": "is no field of this function; it takes none"}


def test_a_field_cannot_stand_in_for_the_context() -> None:
    def handler(ctx: Context, **rest: Any) -> Any:
        return ctx.run, rest

    assert refusals(handler, {"ctx": "mine"}) == {
        "ctx": "is no field of this function; it takes none"
    }


def test_paths_are_written_as_people_write_them() -> None:
    assert join_path(["order", "items", 2, "unit price"]) == "order.items[2]['unit price']"
