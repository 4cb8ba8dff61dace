"""Checks a run's input against its workflow's `inputSchema`, compiled once per definition."""

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from agentworkflow.dispatcher.ports import InputError, InvalidInput, Published

if TYPE_CHECKING:
    from jsonschema import exceptions
    from jsonschema.protocols import Validator

_MOST_ERRORS: Final = 50
_MOST_SCHEMAS: Final = 512


class InputSchemas:
    """The compiled schemas of the definitions that are in use."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, Validator] = OrderedDict()

    def check(self, workflow: Published, value: Any) -> None:
        """Refuse an input that the schema of a workflow does not describe.

        Raises:
            InvalidInput: with the JSON Pointer of each error.
        """
        schema = workflow.definition.input_schema
        if schema is None:
            return
        from referencing.exceptions import Unresolvable  # noqa: PLC0415 - see _validator

        validator = self._validator(workflow.digest, schema)
        found = islice(validator.iter_errors(value), _MOST_ERRORS)
        try:
            errors = [InputError(_pointer(error), _sentence(error)) for error in found]
        except Unresolvable as error:
            raise InvalidInput(
                f"The inputSchema of {workflow.namespace}/{workflow.name} refers to {error.ref}, "
                "which is not in it: its author has to put that schema under $defs."
            ) from error
        if errors:
            first = errors[0]
            more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
            raise InvalidInput(
                f"The input does not fit the inputSchema of {workflow.namespace}/{workflow.name}: "
                f"{first.path or 'the input'} {first.message}{more}.",
                sorted(errors, key=lambda each: each.path),
            )

    def _validator(self, digest: str, schema: Any) -> "Validator":
        found = self._compiled.get(digest)
        if found is None:
            # Costs 100 ms: only a dispatcher that has a workflow with a schema pays for it.
            from jsonschema.validators import validator_for  # noqa: PLC0415
            from referencing import Registry  # noqa: PLC0415

            # With this registry a $ref to another host is an error instead of a request there.
            found = validator_for(schema)(schema, registry=Registry())
            self._compiled[digest] = found
            if len(self._compiled) > _MOST_SCHEMAS:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(digest)
        return found


def _pointer(error: "exceptions.ValidationError") -> str:
    path: list[str | int] = list(error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        # The member that is missing has a place too: where it should be.
        required: Any = error.validator_value
        missing = [name for name in required if name not in error.instance]
        path += [name for name in missing if error.message.startswith(repr(name))][:1]
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _sentence(error: "exceptions.ValidationError") -> str:
    message: str = error.message
    return message if len(message) <= 300 else message[:300] + "…"  # noqa: PLR2004 - a line or four
