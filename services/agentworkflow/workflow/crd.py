"""What is generated from the models: the CRD, the JSON Schema for editors, the reference page.

`python -m agentworkflow.workflow.crd` writes them, and with `--check` fails where one is stale.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from agentworkflow.workflow.fields import NAME_MAX, WORKFLOW_NAME_PATTERN
from agentworkflow.workflow.models import API_VERSION, GROUP, KIND, VERSION, AgentWorkflow, Spec
from agentworkflow.workflow.models_functions import BARE_ON
from agentworkflow.workflow.models_status import Status
from agentworkflow.workflow.reference_page import build_reference_page
from agentworkflow.workflow.structural import structural_schema

_COMMAND: Final = "python -m agentworkflow.workflow.crd"
_WORKFLOW_NAME: Final = {
    "rule": f"self.metadata.name.matches('{WORKFLOW_NAME_PATTERN}')",
    "message": f"the name of a workflow has at most {NAME_MAX} lower-case letters, digits and "
    "single hyphens, and starts with a letter: choose such a name",
    "fieldPath": ".metadata.name",
}
_NOT_YET_SEEN: Final = {
    "type": "Ready",
    "status": "Unknown",
    "reason": "Pending",
    "message": "Waiting for the operator.",
    "lastTransitionTime": "1970-01-01T00:00:00Z",
}


def build_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of AgentWorkflow."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"agentworkflows.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": "agentworkflows",
                "singular": "agentworkflow",
                "shortNames": ["awf"],
                "categories": ["agentworkflow"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _printer_columns(),
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def json_schema() -> dict[str, Any]:
    """The JSON Schema that editors check workflow files against."""
    schema = _for_editors(AgentWorkflow.model_json_schema(by_alias=True))
    # Files that came from a cluster hold what the server wrote.
    schema["$defs"]["Metadata"]["additionalProperties"] = True
    schema["properties"]["status"] = {"description": "Written by the operator.", "type": "object"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{GROUP}/schemas/{VERSION}/agentworkflow.schema.json",
        **schema,
    }


def generated_files() -> dict[str, str]:
    """Path in the repository → content, of every generated file."""
    header = f"# Generated from the models by `{_COMMAND}`. Do not edit.\n"
    crd = yaml.dump(build_crd(), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        "charts/agentworkflow/crds/agentworkflows.yaml": header + crd,
        "docs/agentworkflow.schema.json": schema,
        "docs/resource.md": build_reference_page(),
    }


def main(arguments: list[str], root: Path) -> int:
    """Write the generated files, or with `--check` name those that are stale."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {_COMMAND} [--check]\n")
        return 2
    stale = [
        name
        for name, content in generated_files().items()
        if not (root / name).exists() or (root / name).read_text(encoding="utf-8") != content
    ]
    if arguments:
        for name in stale:
            sys.stderr.write(f"{name} is stale: run {_COMMAND}\n")
        return 1 if stale else 0
    for name in stale:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(generated_files()[name], encoding="utf-8")
        sys.stdout.write(f"wrote {name}\n")
    return 0


def _schema() -> dict[str, Any]:
    spec = structural_schema(Spec)
    step = spec["properties"]["steps"]["items"]["properties"]
    # With a default here, every step would hold it, and the rule about forEach refuse it.
    del step["parallelism"]["default"]
    retry = spec["properties"]["functions"]["items"]["properties"]["retry"]["properties"]
    retry[BARE_ON] = {
        **retry["on"],
        "description": "The same as on: kubectl reads a bare on, without quotes, as this.",
    }
    status = structural_schema(Status)
    status["properties"]["conditions"]["default"] = [_NOT_YET_SEEN]
    name = {"type": "string", "maxLength": NAME_MAX}
    return {
        "description": AgentWorkflow.__doc__,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION},
            "kind": {"type": "string", "description": KIND},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-validations": [_WORKFLOW_NAME],
    }


def _printer_columns() -> list[dict[str, Any]]:
    ready = '.status.conditions[?(@.type=="Ready")]'
    return [
        {"name": "Ready", "type": "string", "jsonPath": f"{ready}.status"},
        {"name": "Reason", "type": "string", "jsonPath": f"{ready}.reason"},
        {"name": "Warm", "type": "integer", "jsonPath": ".status.warmPool.ready"},
        {"name": "URL", "type": "string", "jsonPath": ".status.address.url", "priority": 1},
        {"name": "Message", "type": "string", "jsonPath": f"{ready}.message", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def _for_editors(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_for_editors(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-agentworkflow-later"):
        return {"description": f"Not supported yet. {schema['description']}", "not": {}}
    return {
        key: {name: _for_editors(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else _for_editors(value)
        for key, value in schema.items()
        if not key.startswith("x-") and not (key == "title" and isinstance(value, str))
    }


class _Dumper(yaml.SafeDumper):
    """Writes values out instead of naming them by aliases."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parents[3]))
