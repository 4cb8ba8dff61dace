"""The official test kit of CESQL 1.0: one test for each of its cases."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from agentworkflow.events import CloudEvent, cesql
from agentworkflow.events.json_format import from_json

KIT = Path(__file__).parents[4] / "shared" / "data" / "cesql-tck"

# The kit's names for the errors of the specification's section 3.3.
ERRORS = {
    "math": cesql.ErrorKind.MATH,
    "cast": cesql.ErrorKind.CAST,
    "missingAttribute": cesql.ErrorKind.MISSING_ATTRIBUTE,
    "missingFunction": cesql.ErrorKind.MISSING_FUNCTION,
    "functionEvaluation": cesql.ErrorKind.FUNCTION_EVALUATION,
}
ANY_EVENT = {
    "specversion": "1.0",
    "id": "A234-1234-1234",
    "source": "http://localhost/source",
    "type": "com.example.someevent",
}


class _Loader(yaml.SafeLoader):
    """Texts stay as they are written: an expression `TRUE` is no boolean, a time no datetime."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        texts = {key.value: value.value for key, value in node.value}
        return mapping | {key: texts[key] for key in ("name", "expression") if key in texts}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def cases() -> list[Any]:
    files = sorted(KIT.glob("*.yaml")) if KIT.is_dir() else []
    if not files:
        reason = f"the CESQL test kit is not at {KIT}"
        return [pytest.param(None, id="no-test-kit", marks=pytest.mark.skip(reason=reason))]
    params = []
    for file in files:
        kit = yaml.load(file.read_text(), _Loader)
        for number, case in enumerate(kit["tests"], 1):
            params.append(pytest.param(case, id=f"{file.stem}-{number:02d}-{case['name']}"))
    return params


def event_of(case: dict[str, Any]) -> CloudEvent:
    return from_json({**(case.get("event") or ANY_EVENT), **case.get("eventOverrides", {})})


@pytest.mark.parametrize("case", cases())
def test_test_kit(case: dict[str, Any]) -> None:
    if case.get("error") == "parse":
        with pytest.raises(cesql.ParseError):
            cesql.compile(case["expression"])
        return
    value, errors = cesql.compile(case["expression"]).evaluate(event_of(case))
    expected_errors = [ERRORS[case["error"]]] if "error" in case else []
    assert [error.kind for error in errors] == expected_errors
    assert (type(value), value) == (type(case["result"]), case["result"])
