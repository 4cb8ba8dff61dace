"""What is generated from the models: fresh, bounded, described, and usable."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from agentworkflow.workflow.crd import build_crd, generated_files, json_schema, main
from agentworkflow.workflow.source import read_documents

ROOT = Path(__file__).resolve().parents[3]
VALID = sorted((Path(__file__).parent / "corpus/valid").glob("*.yaml"))
# Kubernetes' limits of one CRD's size and of one rule's message.
MOST_BYTES = 256 * 1024
MOST_MESSAGE = 2048


def version() -> dict[str, Any]:
    [only] = build_crd()["spec"]["versions"]
    found: dict[str, Any] = only
    return found


def schemas(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from schemas(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from schemas(schema[key], f"{path}[]")


SPEC = list(schemas(version()["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec"))
STATUS = list(schemas(version()["schema"]["openAPIV3Schema"]["properties"]["status"], "status"))


def test_the_generated_files_are_fresh() -> None:
    assert main(["--check"], ROOT) == 0


def test_a_stale_file_is_named_and_then_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{name} is stale: run python -m agentworkflow.workflow.crd" for name in generated_files()
    ]

    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0

    crd = tmp_path / "charts/agentworkflow/crds/agentworkflows.yaml"
    crd.write_text(crd.read_text() + "\n")
    assert main(["--check"], tmp_path) == 1


def test_another_argument_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--chek"], ROOT) == 2
    assert capsys.readouterr().err == "usage: python -m agentworkflow.workflow.crd [--check]\n"


def test_the_crd_is_plain_yaml_and_small_enough() -> None:
    text = generated_files()["charts/agentworkflow/crds/agentworkflows.yaml"]

    assert yaml.safe_load(text) == build_crd()
    assert len(text.encode()) < MOST_BYTES
    assert "&id" not in text


def test_the_names_are_those_of_the_design() -> None:
    crd = build_crd()

    assert crd["metadata"]["name"] == "agentworkflows.agentworkflow.dev"
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"]["shortNames"] == ["awf"]
    assert crd["spec"]["names"]["categories"] == ["agentworkflow"]
    assert version()["subresources"] == {"status": {}}


def test_age_is_the_last_column_and_ready_the_first() -> None:
    columns = version()["additionalPrinterColumns"]

    assert columns[0]["jsonPath"] == '.status.conditions[?(@.type=="Ready")].status'
    assert columns[-1]["jsonPath"] == ".metadata.creationTimestamp"


@pytest.mark.parametrize(("path", "schema"), SPEC + STATUS, ids=lambda value: str(value)[:60])
def test_the_schema_is_structural_and_bounded(path: str, schema: dict[str, Any]) -> None:
    allowed = {
        "additionalProperties", "anyOf", "default", "description", "enum", "format", "items",
        "maxItems", "maxLength", "maxProperties", "maximum", "minLength", "minimum", "nullable",
        "pattern", "properties", "required", "type", "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
    }  # fmt: skip
    assert set(schema) <= allowed, path
    free = schema.get("x-kubernetes-preserve-unknown-fields")
    match schema.get("type"):
        case "string":
            assert "maxLength" in schema or "enum" in schema, path
        case "array":
            assert {"maxItems", "x-kubernetes-list-type"} <= set(schema), path
        case "object":
            assert free or "properties" in schema or "maxProperties" in schema, path
        case "integer":
            assert "minimum" in schema or free or _is_refused(schema), path
        case "boolean":
            pass
        case _:
            assert free or schema.get("x-kubernetes-int-or-string"), path


@pytest.mark.parametrize(("path", "schema"), SPEC + STATUS, ids=lambda value: str(value)[:60])
def test_every_field_is_described_and_every_rule_has_words(
    path: str, schema: dict[str, Any]
) -> None:
    if not path.endswith("[]"):
        assert schema.get("description", "").strip(), path
        assert schema["description"].endswith("."), path
    for rule in schema.get("x-kubernetes-validations", []):
        assert 0 < len(rule["message"]) < MOST_MESSAGE


def test_a_default_satisfies_its_own_schema() -> None:
    for path, schema in SPEC:
        if "default" in schema and "anyOf" not in schema:
            Draft202012Validator(schema).validate(schema["default"])
            assert schema["default"] is not None, path


def _is_refused(schema: dict[str, Any]) -> bool:
    return [rule["rule"] for rule in schema.get("x-kubernetes-validations", [])] == ["false"]


def test_the_schema_for_editors_is_valid_and_takes_the_valid_files() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)

    for file in VALID:
        [document], _ = read_documents(file.read_text(), file.name)
        value = document.value
        if file.stem == "from_the_server":
            continue  # nulls and a bare `on` are the server's, no editor's file holds them
        assert [error.message for error in Draft202012Validator(schema).iter_errors(value)] == []


@pytest.mark.parametrize(
    "spec",
    [
        {"descripton": "x"},
        {"planner": {}},
        {"steps": [{"function": "f"}]},
        {"steps": [{"name": "s", "onFailure": "continue"}]},
        {"functions": [{"name": "f", "timeout": "1d"}]},
    ],
)
def test_the_schema_for_editors_marks_what_is_wrong(spec: dict[str, Any]) -> None:
    resource = {
        "apiVersion": "agentworkflow.dev/v1alpha1",
        "kind": "AgentWorkflow",
        "metadata": {"name": "a"},
        "spec": spec,
    }

    assert list(Draft202012Validator(json_schema()).iter_errors(resource)) != []


def test_the_schema_for_editors_holds_nothing_of_kubernetes() -> None:
    assert "x-" not in {key[:2] for key in json.dumps(json_schema()).split('"')}


def test_the_reference_page_names_every_field() -> None:
    page = generated_files()["docs/resource.md"]

    for path, _schema in SPEC:
        name = path.rsplit(".", 1)[-1].removesuffix("[]")
        if name not in ("spec", "true"):
            assert f"`{name}`" in page or f".{name}" in page, path
    assert "Not supported yet: `planner`, `concurrency`." in page
