"""`agentworkflow validate`: every wrong file is told with its place and what to write instead."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "agentworkflow.cli"]
HEAD = """apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: shop}
spec:
"""
FUNCTIONS = """  functions:
    - {name: price, handler: "functions:price"}
    - {name: tell, handler: "functions:tell"}
"""


def _validate(folder: Path, text: str, *options: str) -> "subprocess.CompletedProcess[str]":
    (folder / "functions.py").write_text("def price(**f): ...\ndef tell(**f): ...\n")
    (folder / "workflow.yaml").write_text(text, encoding="utf-8")
    return subprocess.run(
        [*COMMAND, "validate", *options, "workflow.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_valid_file_is_said_to_be_valid(tmp_path: Path) -> None:
    done = _validate(tmp_path, HEAD + FUNCTIONS + "  steps: [{name: cost, function: price}]\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "workflow.yaml: shop is valid\n"


@pytest.mark.parametrize(
    ("spec", "line", "said"),
    [
        pytest.param("  steps: [\n", 6, "", id="yaml-that-does-not-parse"),
        pytest.param("  steps:\n\t- {}\n", 6, "tab", id="a-tab"),
        pytest.param(
            FUNCTIONS + "  steps:\n    - {name: cost, funktion: price}\n",
            9,
            'did you mean "function"',
            id="unknown-field",
        ),
        pytest.param(
            FUNCTIONS + "  setps: []\n", 8, 'did you mean "steps"', id="unknown-field-of-the-spec"
        ),
        pytest.param(
            FUNCTIONS
            + "  steps:\n"
            + "    - {name: cost, function: price, needs: [say]}\n"
            + "    - {name: say, function: tell, needs: [cost]}\n",
            9,
            "cost",
            id="cycle",
        ),
        pytest.param(
            FUNCTIONS + "  steps:\n    - {name: cost, function: prise}\n",
            9,
            'did you mean "price"',
            id="unknown-function",
        ),
        pytest.param(
            FUNCTIONS
            + "  steps:\n"
            + "    - {name: cost, function: price}\n"
            + "    - {name: say, function: tell, needs: [cost],\n"
            + '       input: {a: "${steps.kost.output}"}}\n',
            11,
            "cost",
            id="expression-that-names-an-unknown-step",
        ),
        pytest.param(
            FUNCTIONS
            + "  steps:\n"
            + "    - {name: cost, function: price}\n"
            + '    - {name: say, function: tell, input: {a: "${steps.cost.output}"}}\n',
            10,
            "needs",
            id="expression-that-names-a-step-that-is-not-needed",
        ),
        pytest.param(
            FUNCTIONS
            + "  steps:\n"
            + "    - {name: cost, function: price}\n"
            + "    - {name: cost, function: tell}\n",
            10,
            "cost",
            id="two-steps-of-one-name",
        ),
        pytest.param(
            "  functions:\n"
            '    - {name: price, handler: "functions:price"}\n'
            '    - {name: price, handler: "functions:tell"}\n'
            "  steps: [{name: cost, function: price}]\n",
            7,
            "price",
            id="two-functions-of-one-name",
        ),
        pytest.param(
            FUNCTIONS
            + "  steps:\n"
            + "    - {name: my-cost, function: price}\n"
            + "    - {name: say, function: tell, needs: [my-cost], "
            + 'input: {a: "${steps.my-cost.output}"}}\n',
            10,
            "steps['my-cost']",
            id="a-hyphen-in-an-expression",
        ),
        pytest.param(
            FUNCTIONS + '  steps:\n    - {name: cost, function: price, when: "${1 +}"}\n',
            9,
            "",
            id="expression-that-does-not-parse",
        ),
        pytest.param(
            FUNCTIONS
            + "  steps:\n"
            + '    - {name: cost, function: price, input: {a: "${event.data}"}}\n',
            9,
            "event",
            id="event-where-a-start-by-the-api-is-possible",
        ),
        pytest.param(
            FUNCTIONS + "  steps:\n    - {name: cost, function: price}\n  planner: {model: x}\n",
            10,
            "not supported yet",
            id="a-field-of-later",
        ),
    ],
)
def test_a_wrong_file_is_told_with_its_place(
    tmp_path: Path, spec: str, line: int, said: str
) -> None:
    done = _validate(tmp_path, HEAD + spec)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    places = [
        int(found.group(1))
        for found in re.finditer(r"^workflow\.yaml:(\d+):\d+: ", done.stderr, re.MULTILINE)
    ]
    assert line in places
    assert said in done.stderr


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    done = _validate(
        tmp_path,
        HEAD
        + FUNCTIONS
        + "  steps:\n    - {name: cost, function: prise}\n    - {name: say, function: tel}\n",
    )

    assert "workflow.yaml:9:" in done.stderr
    assert "workflow.yaml:10:" in done.stderr
    assert done.stderr.rstrip().endswith("2 errors")


def test_json_lists_every_error_with_its_parts(tmp_path: Path) -> None:
    done = _validate(
        tmp_path, HEAD + FUNCTIONS + "  steps:\n    - {name: cost, function: prise}\n", "--json"
    )

    report = json.loads(done.stdout)
    assert done.returncode == 2
    assert report["valid"] is False
    (error,) = report["errors"]
    assert (error["file"], error["line"]) == ("workflow.yaml", 9)
    assert error["path"] == "spec.steps[0].function"
    assert "price" in error["hint"]


def test_a_handler_that_cannot_be_imported_is_told_with_its_traceback_and_the_path(
    tmp_path: Path,
) -> None:
    (tmp_path / "broken.py").write_text("import nothing_like_this\n")
    done = _validate(
        tmp_path,
        HEAD + '  functions:\n    - {name: price, handler: "broken:price"}\n'
        "  steps: [{name: cost, function: price}]\n",
    )

    assert done.returncode == 2
    assert "workflow.yaml:6:" in done.stderr
    assert "spec.functions[0].handler" in done.stderr
    assert "No module named 'nothing_like_this'" in done.stderr
    assert f'File "{tmp_path}/broken.py", line 1' in done.stderr
    assert str(tmp_path / "src") in done.stderr


def test_a_handler_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    done = _validate(
        tmp_path,
        HEAD + '  functions:\n    - {name: price, handler: "functions:prise"}\n'
        "  steps: [{name: cost, function: price}]\n",
    )

    assert done.returncode == 2
    assert "did you mean 'price'" in done.stderr


def test_handlers_are_left_alone_if_asked(tmp_path: Path) -> None:
    done = _validate(
        tmp_path,
        HEAD + '  functions:\n    - {name: price, handler: "nowhere:price"}\n'
        "  steps: [{name: cost, function: price}]\n",
        "--no-handlers",
    )

    assert done.returncode == 0


def test_two_files_with_one_workflow_are_told(tmp_path: Path) -> None:
    text = HEAD + FUNCTIONS + "  steps: [{name: cost, function: price}]\n"
    (tmp_path / "other.yaml").write_text(text)

    done = _validate(tmp_path, text, "other.yaml")

    assert done.returncode == 2
    assert "workflow.yaml:3:" in done.stderr
    assert "is in other.yaml already" in done.stderr


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "validate", "nowhere.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == "Error: nowhere.yaml cannot be read: No such file or directory.\n"
