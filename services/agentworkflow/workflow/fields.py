"""What the fields of the resource are made of: forms of text, bounds, free-form values.

Each form carries three things: the check itself, its place in the CRD (`x-kubernetes-*`), and, in
`FORMS`, the words that say to a user what to write instead.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from agentworkflow.workflow.durations import DURATION_PATTERN, parse_duration_ms
from agentworkflow.workflow.memory import MEMORY_PATTERN, QUANTITY_PATTERN, parse_quantity

NAME_MAX: Final = 28
NAMESPACE_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
WORKFLOW_NAME_PATTERN: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
NAME_PATTERN: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$"
OBJECT_NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
HOST_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
HANDLER_PATTERN: Final = (
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
    r":[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
)
MODULE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
VARIABLE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
KEY_PATTERN: Final = r"^[-._A-Za-z0-9]+$"
PATH_PATTERN: Final = r"^/([-._~!$&'()*+,;=:@%A-Za-z0-9]+(/[-._~!$&'()*+,;=:@%A-Za-z0-9]+)*)?$"
EXPRESSION_PATTERN: Final = r"^\$\{[\s\S]+\}$"
EVENT_TYPE_PATTERN: Final = r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$"
IMAGE_PATTERN: Final = r"^[^\s]+$"
TIMEZONE_PATTERN: Final = r"^[A-Za-z0-9_+/-]+$"

# What a text of each form is, and how to write it: (what it must be, an example).
FORMS: Final[dict[str, tuple[str, str]]] = {
    WORKFLOW_NAME_PATTERN: (
        "a name of lower-case letters, digits and single hyphens, starting with a letter",
        "order-insights",
    ),
    NAME_PATTERN: ("a name of lower-case letters, digits and single hyphens", "analyze-data"),
    OBJECT_NAME_PATTERN: ("the name of a Kubernetes object", "order-insights"),
    NAMESPACE_PATTERN: ("the name of a namespace", "shop"),
    HOST_PATTERN: ("the name of a host in lower case", "orders.example.com"),
    HANDLER_PATTERN: ("module:attribute", "order_insights.functions:analyze_data"),
    MODULE_PATTERN: ("the name of a Python module", "pandas"),
    VARIABLE_PATTERN: ("letters, digits and underscores, not starting with a digit", "REGION"),
    KEY_PATTERN: ("letters, digits, dots, hyphens and underscores", "api-key"),
    PATH_PATTERN: ("a path that starts with / and does not end with it", "/analyze"),
    EXPRESSION_PATTERN: ("one expression", "${input.amount > 100}"),
    EVENT_TYPE_PATTERN: ("the type of an event", "com.example.order.created"),
    IMAGE_PATTERN: ("an image reference without spaces", "registry.example/shop/orders:1.2"),
    TIMEZONE_PATTERN: ("a time zone of the IANA database", "Europe/Berlin"),
    DURATION_PATTERN: ("a duration in h, m, s and ms", "1h30m10s"),
    MEMORY_PATTERN: ("an amount of memory", "512Mi"),
    QUANTITY_PATTERN: ("a Kubernetes quantity", "50m or 256Mi"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """Adds keywords to a field's JSON Schema, for the CRD."""

    keywords: tuple[tuple[str, Any], ...]

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), **dict(self.keywords)}


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds a duration, here and in the CRD."""

    least: str
    most: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        rule = {
            "rule": f"duration(self) >= duration('{self.least}')"
            f" && duration(self) <= duration('{self.most}')",
            "message": f"must be between {self.least} and {self.most}",
        }
        return {**handler(schema), "x-kubernetes-validations": [rule]}

    def _check(self, text: str) -> str:
        if not (
            parse_duration_ms(self.least) <= parse_duration_ms(text) <= parse_duration_ms(self.most)
        ):
            raise PydanticCustomError(
                "duration_range",
                "must be between {least} and {most}",
                {"least": self.least, "most": self.most},
            )
        return text


@dataclass(frozen=True, slots=True)
class Later:
    """A field that has its place but belongs to later work: refused by name, never ignored."""

    type: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._refuse)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        shown: dict[str, Any] = {"type": self.type, "x-agentworkflow-later": True}
        if self.type == "object":
            shown["x-kubernetes-preserve-unknown-fields"] = True
        shown["x-kubernetes-validations"] = [{"rule": "false", "message": "not supported yet"}]
        return shown

    def _refuse(self, _value: object) -> None:
        raise PydanticCustomError("later", "not supported yet")


class _WholeNumberToText:
    """A quantity without a unit may be written as a number, as Kubernetes allows."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._text, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        shown = handler(schema)
        return {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": shown["pattern"],
        }

    @staticmethod
    def _text(value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True, slots=True)
class MemoryBetween:
    """Bounds an amount of memory. The CRD leaves this to the operator."""

    least: str
    most: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, text: str) -> str:
        if not parse_quantity(self.least) <= parse_quantity(text) <= parse_quantity(self.most):
            raise PydanticCustomError(
                "memory_range",
                "must be between {least} and {most}",
                {"least": self.least, "most": self.most},
            )
        return text


def by_key(*keys: str) -> Shown:
    """The list's entries are known by these fields, which are unique in it."""
    return Shown((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", [*keys])))


SET: Final = Shown((("x-kubernetes-list-type", "set"),))
FREE_FORM: Final = Shown((("x-kubernetes-preserve-unknown-fields", True),))
NULLABLE: Final = Shown(
    (("x-kubernetes-preserve-unknown-fields", True), ("x-agentworkflow-nullable", True))
)

Name = Annotated[str, Field(max_length=NAME_MAX, pattern=NAME_PATTERN)]
ObjectName = Annotated[str, Field(max_length=253, pattern=OBJECT_NAME_PATTERN)]
DurationText = Annotated[str, Field(min_length=2, max_length=32, pattern=DURATION_PATTERN)]
Quantity = Annotated[str, Field(max_length=32, pattern=QUANTITY_PATTERN), _WholeNumberToText()]
Memory = Annotated[str, Field(max_length=32, pattern=MEMORY_PATTERN), MemoryBetween("16Mi", "1Ti")]
Expression = Annotated[str, Field(max_length=4096, pattern=EXPRESSION_PATTERN)]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=IMAGE_PATTERN)]
Description = Annotated[str, Field(max_length=1024)]
Cron = Annotated[str, Field(max_length=128)]
Timezone = Annotated[str, Field(max_length=64, pattern=TIMEZONE_PATTERN)]
Json = Annotated[Any, FREE_FORM]
JsonOrNull = Annotated[Any, NULLABLE]
JsonObject = Annotated[dict[str, Any], FREE_FORM]
LaterObject = Annotated[None, Later("object")]
LaterFlag = Annotated[None, Later("boolean")]
LaterNumber = Annotated[None, Later("integer")]


class Shape(BaseModel):
    """One object of the resource: camelCase outside, frozen, and no field that is not declared.

    A null is an absent field, as the Kubernetes API server has it, but for fields whose value may
    be null (`nullable`).
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        # Built when first used: a process that only names the models does not wait for them.
        defer_build=True,
        extra="forbid",
        frozen=True,
        strict=True,
        serialize_by_alias=True,
    )

    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        known = {field.alias for field in cls.model_fields.values()} - cls.nullable
        return {key: value for key, value in data.items() if value is not None or key not in known}
