"""`agentworkflow run`: one run from the command line to the exit code, and nothing left behind."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Popen = Callable[..., "subprocess.Popen[str]"]

WORKFLOW = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: shop}
spec:
  functions:
    - {name: price, handler: "shop_functions:price"}
    - {name: tell, handler: "shop_functions:tell"}
    - {name: slow, handler: "shop_functions:slow"}
  triggers:
    - name: ordered
      filters: [{exact: {type: com.example.ordered}}]
  inputSchema: {type: object, properties: {article: {type: string}}}
  steps:
    - {name: cost, function: price, input: {article: "${input.article}"}}
    - {name: say, function: tell, needs: [cost],
       input: {total: "${steps.cost.output.total}", wait: "${has(input.wait) ? input.wait : 0}"}}
  output: {told: "${steps.say.output}"}
"""
FUNCTIONS = """
import os, sys, time
from agentworkflow import Failure

print("imported")

def price(article: str):
    print("pricing", article)
    if article == "gold":
        raise Failure("sold-out", "Sold out", "No gold left.")
    return {"total": len(article)}

def tell(total: int, wait: float = 0):
    print("telling", file=sys.stderr)
    time.sleep(wait)
    return f"that is {total}, {os.environ.get('GREETING', 'bye')}"

def slow(): ...
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "workflow.yaml").write_text(WORKFLOW)
    (folder / "src").mkdir()
    (folder / "src" / "shop_functions.py").write_text(FUNCTIONS)
    return folder


def _event(**changes: Any) -> str:
    event = {
        "specversion": "1.0",
        "id": "o-1",
        "source": "/shop",
        "type": "com.example.ordered",
        "data": {"article": "tea"},
    }
    return json.dumps(event | changes)


def test_a_run_succeeds_and_prints_each_step_and_the_result(cli: Cli, folder: Path) -> None:
    done = cli("run", "workflow.yaml", "--input", '{"article": "tea"}', cwd=folder)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("step.requested" in line and "cost" in line for line in lines)
    assert any("step.completed" in line and "say" in line for line in lines)
    assert '"told": "that is 3, bye"' in done.stdout


def test_a_terminal_gets_a_live_table(folder: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "agentworkflow.cli", "run", "workflow.yaml", "--input", "{}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the other side is closed
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)

    assert done.wait(30) == 1
    text = shown.decode()
    assert "starting the engine" in text
    assert "\x1b[1A" in text  # the table is drawn over itself
    assert "ExpressionFailed" in text
    assert "step.requested" not in text


def test_json_is_one_object_and_nothing_else(cli: Cli, folder: Path) -> None:
    done = cli("run", "workflow.yaml", "--input", '{"article": "tea"}', "--json", cwd=folder)

    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(result) == ["run", "state", "reason", "problem", "output", "steps", "durationMs"]
    assert (result["state"], result["reason"], result["problem"]) == ("Succeeded", None, None)
    assert result["output"] == {"told": "that is 3, bye"}
    assert result["durationMs"] > 0
    assert [list(step) for step in result["steps"]] == [
        ["name", "state", "reason", "attempts", "startType", "durationMs", "output"]
    ] * 2
    cost = result["steps"][0]
    assert (cost["name"], cost["state"], cost["attempts"]) == ("cost", "Succeeded", 1)
    assert cost["startType"] == "cold"
    assert cost["output"] == {"total": 3}


def test_what_functions_print_goes_to_standard_error_with_their_name(
    cli: Cli, folder: Path
) -> None:
    done = cli("run", "workflow.yaml", "--input", '{"article": "tea"}', "--json", cwd=folder)

    assert "pricing" not in done.stdout
    pricing = [line for line in done.stderr.splitlines() if "pricing tea" in line]
    assert len(pricing) == 1
    assert "price" in pricing[0].replace("pricing", "")
    assert "telling" in done.stderr


@pytest.mark.parametrize("source", ["file", "-"])
def test_an_event_starts_the_run_through_its_trigger(
    cli: Cli, folder: Path, tmp_path: Path, source: str
) -> None:
    file = tmp_path / "event.json"
    file.write_text(_event())
    argument = str(file) if source == "file" else "-"

    done = cli("run", "workflow.yaml", "--event", argument, "--json", cwd=folder, stdin=_event())

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == {"told": "that is 3, bye"}


def test_a_failed_run_exits_with_1_and_tells_the_problem(cli: Cli, folder: Path) -> None:
    done = cli("run", "workflow.yaml", "--input", '{"article": "gold"}', cwd=folder)
    as_json = cli("run", "workflow.yaml", "--input", '{"article": "gold"}', "--json", cwd=folder)

    assert (done.returncode, as_json.returncode) == (1, 1)
    assert "Sold out: No gold left." in done.stdout
    result = json.loads(as_json.stdout)
    assert (result["state"], result["reason"]) == ("Failed", "StepFailed")
    assert result["problem"]["type"] == "sold-out"
    assert result["output"] is None


def test_a_run_that_takes_too_long_is_cancelled(cli: Cli, folder: Path) -> None:
    done = cli(
        "run", "workflow.yaml", "--input", '{"article": "tea", "wait": 30}', "--timeout", "2s",
        "--json", cwd=folder,
    )  # fmt: skip

    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "Cancelled"
    assert "did not end within 2s" in done.stderr


def test_secrets_become_the_functions_environment_or_are_said_to_be_missing(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    text = WORKFLOW.replace(
        "spec:\n",
        "spec:\n  runtime:\n    env:\n"
        "      - {name: GREETING, valueFrom: {secretKeyRef: {name: shop, key: greeting}}}\n",
        1,
    )
    (folder / "secret.yaml").write_text(text)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "greeting").write_text("hello")

    done = cli(
        "run", "secret.yaml", "--input", '{"article": "tea"}', "--secrets", tmp_path, "--json",
        cwd=folder,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == {"told": "that is 3, hello"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["workflow.yaml", "--input", "{"], "--input is not JSON: line 1, column 2"),
        (["workflow.yaml", "--input", '{"article": 1}'], "article: 1 is not of type 'string'"),
        (["workflow.yaml", "--event", "nowhere.json"], "nowhere.json cannot be read"),
        (["workflow.yaml", "--workflow", "shp", "--input", "{}"], "no workflow is named shp"),
        (["nowhere.yaml", "--input", "{}"], "nowhere.yaml cannot be read"),
        (["workflow.yaml", "--input", "{}", "--timeout", "soon"], "--timeout soon is no duration"),
        (["workflow.yaml", "--input", "{}", "--event", "-"], "not both"),
        (["workflow.yaml", "--input", "{}", "--command", "price"], "NAME=VALUE"),
    ],
)
def test_wrong_usage_exits_with_2_and_one_sentence(
    cli: Cli, folder: Path, arguments: list[str], said: str
) -> None:
    done = cli("run", *arguments, cwd=folder)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_event_that_nothing_matches_lists_the_triggers(cli: Cli, folder: Path) -> None:
    done = cli("run", "workflow.yaml", "--event", "-", cwd=folder, stdin=_event(type="other"))

    assert done.returncode == 2
    assert 'trigger ordered: filters [{"exact": {"type": "com.example.ordered"}}]' in done.stderr


def test_a_wrong_file_exits_with_2_and_every_place(cli: Cli, folder: Path) -> None:
    (folder / "wrong.yaml").write_text(WORKFLOW.replace("function: price", "function: prise"))

    done = cli("run", "wrong.yaml", "--input", "{}", cwd=folder)

    assert done.returncode == 2
    assert "wrong.yaml:15:" in done.stderr
    assert 'did you mean "price"' in done.stderr


def test_a_handler_that_cannot_be_imported_exits_with_2(cli: Cli, folder: Path) -> None:
    (folder / "unloved.yaml").write_text(WORKFLOW.replace("shop_functions:tell", "unloved:tell"))

    done = cli("run", "unloved.yaml", "--input", "{}", cwd=folder)

    assert done.returncode == 2
    assert "unloved.yaml:8:" in done.stderr
    assert "No module named 'unloved'" in done.stderr
    assert str(folder / "src") in done.stderr


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_signal_leaves_no_process_and_no_directory_behind(
    popen: Popen, marked: Any, folder: Path, tmp_path: Path, number: int, exit_code: int
) -> None:
    marked.environment |= {"TMPDIR": str(tmp_path)}
    running = popen(
        marked, "run", "workflow.yaml", "--input", '{"article": "tea", "wait": 60}', cwd=folder
    )
    assert running.stderr is not None
    said = ""
    for line in running.stderr:
        said += line
        if "telling" in line:  # the second step's handler is at work
            break
    assert len(marked.processes()) > 2, said

    os.kill(running.pid, number)

    running.communicate(timeout=20)
    assert running.returncode == exit_code
    marked.wait_gone()
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []
