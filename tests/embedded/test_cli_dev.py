"""`agentworkflow dev` and every command that talks to it."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentworkflow.testing import LocalEngine

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Popen = Callable[..., "subprocess.Popen[str]"]

WORKFLOWS = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: shop}
spec:
  description: Prices orders.
  functions:
    - {name: price, handler: "shop_functions:price"}
  triggers:
    - name: ordered
      filters: [{exact: {type: com.example.ordered}}]
  inputSchema: {type: object, properties: {article: {type: string}}}
  steps:
    - {name: cost, function: price, input: {article: "${input.article}"}}
---
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: catalog}
spec:
  functions:
    - {name: list-all, handler: "catalog_functions:list_all"}
  steps:
    - {name: all, function: list-all}
---
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: approve}
spec:
  routes: [{path: /approve, host: shop.example.com}]
  broker: {name: approvals}
  functions:
    - {name: price, handler: "shop_functions:price"}
  steps:
    - {name: wait, waitFor: {signal: approval, timeout: 1h}}
    - {name: cost, function: price, needs: [wait], input: {article: "${steps.wait.output}"}}
"""
FUNCTIONS = """
def price(article: str):
    print("pricing", article)
    return {"total": len(article)}
"""
CATALOG = """
def list_all():
    return "tea " * 100_000
"""


def _write(folder: Path) -> Path:
    (folder / "shop_functions.py").write_text(FUNCTIONS)
    (folder / "catalog_functions.py").write_text(CATALOG)
    file = folder / "workflows.yaml"
    file.write_text(WORKFLOWS)
    return file


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """An engine that the commands of this module talk to."""
    folder = tmp_path_factory.mktemp("dev")
    with LocalEngine(_write(folder), data_dir=folder / "data") as running:
        yield running


def _event(**changes: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": "o-1",
        "source": "/shop",
        "type": "com.example.ordered",
        "data": {"article": "tea"},
    }
    return event | changes


def test_it_prints_where_everything_is(shop: LocalEngine) -> None:
    output = shop.output.read_text()

    assert shop.url in output
    assert f"{shop.url}/docs" in output
    assert "shop" in output
    assert f"  POST {shop.url}/approve   (Host: shop.example.com)\n" in output
    # Each Broker has an address of its own.
    assert "/default/default\n" in output
    assert "/default/approvals\n" in output


def test_workflows_lists_what_is_published(shop: LocalEngine, cli: Cli) -> None:
    done = cli("workflows", "--data-dir", shop.data_dir)
    as_json = cli("workflows", "--json", "--url", shop.url)

    assert done.returncode == 0, done.stderr
    assert "Prices orders." in done.stdout
    assert [each["name"] for each in json.loads(as_json.stdout)] == ["approve", "catalog", "shop"]


def test_an_event_that_is_sent_starts_a_run(shop: LocalEngine, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(_event(id="sent")))

    done = cli("send", file, "--data-dir", shop.data_dir)

    assert (done.returncode, done.stdout) == (0, "accepted 1 event\n"), done.stderr

    def found() -> list[dict[str, Any]]:
        return [
            run
            for run in shop.runs(workflow="shop", state="Succeeded")
            if (run["startedBy"]["event"] or {}).get("id") == "sent"
        ]

    assert len(shop.poll("the run", found)) == 1


def test_an_event_may_be_made_of_options(shop: LocalEngine, cli: Cli) -> None:
    done = cli(
        "send", "--type", "com.example.ordered", "--source", "/desk", "--id", "by-hand",
        "--data", '{"article": "cup"}', "--data-dir", shop.data_dir,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    shop.poll(
        "the run",
        lambda: [
            run
            for run in shop.runs(workflow="shop")
            if (run["startedBy"]["event"] or {}).get("source") == "/desk"
        ],
    )


def test_a_malformed_event_is_refused_with_its_attribute(shop: LocalEngine, cli: Cli) -> None:
    event = _event()
    del event["source"]

    done = cli("send", "-", "--data-dir", shop.data_dir, stdin=json.dumps(event))

    assert done.returncode == 2
    assert "source" in done.stderr
    assert "Traceback" not in done.stderr


def test_of_a_batch_the_good_events_are_taken_and_the_bad_ones_told(
    shop: LocalEngine, cli: Cli
) -> None:
    batch = [_event(id="b-1", type="nobody"), {"id": "b-2"}]

    done = cli("send", "-", "--data-dir", shop.data_dir, stdin=json.dumps(batch))

    assert done.returncode == 2
    assert done.stdout == "accepted 1 event\n"
    assert "event 2 is refused" in done.stderr


def test_runs_are_listed_and_shown(shop: LocalEngine, cli: Cli) -> None:
    run = shop.run("shop", {"article": "tea"}, session="ada")["run"]

    listed = cli("runs", "--data-dir", shop.data_dir, "--session", "ada")
    as_json = cli(
        "runs", "--data-dir", shop.data_dir, "--session", "ada", "--state", "Succeeded", "--limit",
        "1", "--workflow", "shop", "--json",
    )  # fmt: skip
    shown = cli("show", run, "--data-dir", shop.data_dir)
    shown_by_beginning = cli("show", run[:18], "--data-dir", shop.data_dir, "--json")

    assert run in listed.stdout
    assert [each["run"] for each in json.loads(as_json.stdout)] == [run]
    assert "Succeeded" in shown.stdout
    assert '"total": 3' in shown.stdout
    assert json.loads(shown_by_beginning.stdout)["output"] == {"cost": {"total": 3}}


def test_show_prints_an_output_however_large(shop: LocalEngine, cli: Cli) -> None:
    run = shop.run("catalog", {})["run"]

    shown = cli("show", run, "--data-dir", shop.data_dir, "--json")

    assert json.loads(shown.stdout)["output"] == {"all": "tea " * 100_000}


def test_logs_print_what_happened_and_end(shop: LocalEngine, cli: Cli) -> None:
    run = shop.run("shop", {"article": "tea"})["run"]

    done = cli("logs", run, "--data-dir", shop.data_dir)
    as_json = cli("logs", run, "--data-dir", shop.data_dir, "--json")

    assert done.returncode == 0, done.stderr
    assert "step.completed" in done.stdout
    kinds = [json.loads(line)["type"] for line in as_json.stdout.splitlines()]
    assert kinds[0] == "run.requested"
    assert kinds[-1] == "run.finished"


def test_logs_of_a_run_that_goes_on_end_unless_followed(
    shop: LocalEngine, cli: Cli, popen: Popen, marked: Any
) -> None:
    run = shop.start("approve")
    shop.wait_until(run, lambda view: view["state"] == "Waiting")

    once = cli("logs", run, "--data-dir", shop.data_dir)
    following = popen(marked, "logs", run, "--follow", "--data-dir", shop.data_dir)
    shop.signal(run, "approval", "tea")
    output, _ = following.communicate(timeout=20)

    assert "step.waiting" in once.stdout
    assert "run.finished" not in once.stdout
    assert "run.finished" in output


def test_a_signal_lets_a_run_go_on(shop: LocalEngine, cli: Cli) -> None:
    run = shop.start("approve")

    done = cli("signal", run, "approval", "teas", "--data-dir", shop.data_dir)

    assert done.returncode == 0, done.stderr
    assert shop.wait(run)["output"] == {"cost": {"total": 4}}


def test_a_run_is_cancelled(shop: LocalEngine, cli: Cli) -> None:
    run = shop.start("approve")

    done = cli("cancel", run, "--data-dir", shop.data_dir)

    assert done.returncode == 0, done.stderr
    assert shop.wait(run)["state"] == "Cancelled"


def test_what_the_engine_refuses_is_told_readably(shop: LocalEngine, cli: Cli) -> None:
    run = shop.run("shop", {"article": "tea"})["run"]

    signal_ = cli("signal", run, "approval", "1", "--data-dir", shop.data_dir)
    unknown = cli("show", "5b1f0000-0000-4000-8000-000000000000-00", "--data-dir", shop.data_dir)
    state = cli("runs", "--state", "Sleeping", "--data-dir", shop.data_dir)

    for done in (signal_, unknown, state):
        assert done.returncode == 2
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr
    assert "finished" in signal_.stderr
    assert "Unknown run" in unknown.stderr
    assert "Sleeping" in state.stderr or "state" in state.stderr


def test_dead_letters_are_listed_shown_sent_again_and_dropped(shop: LocalEngine, cli: Cli) -> None:
    shop.send(_event(id="wrong", data={"article": 1}))

    def letters() -> list[dict[str, Any]]:
        done = cli("dead-letters", "--json", "--data-dir", shop.data_dir)
        return [each for each in json.loads(done.stdout) if each["event"]["id"] == "wrong"]

    (letter,) = shop.poll("the dead letter", letters)
    listed = cli("dead-letters", "list", "--data-dir", shop.data_dir)
    shown = cli("dead-letters", "show", letter["id"], "--data-dir", shop.data_dir)
    redriven = cli("dead-letters", "redrive", letter["id"], "--data-dir", shop.data_dir)
    dropped = cli("dead-letters", "drop", letter["id"], "--data-dir", shop.data_dir)

    assert letter["id"] in listed.stdout
    assert json.loads(shown.stdout)["event"]["data"] == {"article": 1}
    assert redriven.returncode == 2, redriven.stdout
    assert "article" in redriven.stderr
    assert dropped.returncode == 0, dropped.stderr
    assert letters() == []


def test_a_functions_output_is_shown_with_its_name(shop: LocalEngine) -> None:
    shop.run("shop", {"article": "oolong"})

    def printed() -> list[str]:
        lines = shop.output.read_text().splitlines()
        return [line for line in lines if "pricing oolong" in line]

    (line,) = shop.poll("the function's line", printed)
    assert "shop" in line


def test_without_an_engine_every_command_says_how_to_start_one(cli: Cli, tmp_path: Path) -> None:
    for command in (
        ["runs"],
        ["show", "x"],
        ["logs", "x"],
        ["signal", "x", "y", "1"],
        ["cancel", "x"],
        ["workflows"],
        ["dead-letters"],
        ["send", "--type", "t"],
    ):
        done = cli(*command, "--data-dir", tmp_path)

        assert done.returncode == 2
        assert "agentworkflow dev FILE" in done.stderr


def test_a_change_of_the_code_is_taken(tmp_path: Path) -> None:
    file = _write(tmp_path)
    with LocalEngine(file, data_dir=tmp_path / "data") as engine:
        assert engine.run("shop", {"article": "tea"})["output"] == {"cost": {"total": 3}}

        (tmp_path / "shop_functions.py").write_text("def price(article: str): return article * 2\n")
        engine.poll("the reload", lambda: "reloaded" in engine.output.read_text())

        # The host that leaves may still answer what reached it before it was told.
        engine.poll(
            "the new code",
            lambda: engine.run("shop", {"article": "tea"})["output"] == {"cost": "teatea"},
        )


def test_a_change_of_the_file_is_taken_unless_it_is_wrong(tmp_path: Path) -> None:
    file = _write(tmp_path)
    with LocalEngine(file, data_dir=tmp_path / "data") as engine:
        file.write_text(WORKFLOWS.replace("function: price, input", "function: prise, input"))
        engine.poll("the refusal", lambda: "is not taken" in engine.output.read_text())
        assert 'did you mean "price"' in engine.output.read_text()
        assert engine.run("shop", {"article": "tea"})["state"] == "Succeeded"

        file.write_text(WORKFLOWS + '  output: "${steps.cost.output.total}"\n')
        engine.poll("the reload", lambda: ": reloaded" in engine.output.read_text())
        run = engine.start("approve")
        engine.signal(run, "approval", "tea")
        assert engine.wait(run)["output"] == 3


def test_a_workflow_that_leaves_the_file_ends_its_runs(tmp_path: Path) -> None:
    file = _write(tmp_path)
    with LocalEngine(file, data_dir=tmp_path / "data") as engine:
        run = engine.start("approve")
        engine.wait_until(run, lambda view: view["state"] == "Waiting")

        file.write_text(WORKFLOWS.split("---", maxsplit=1)[0])

        view = engine.wait(run)
        assert (view["state"], view["reason"]) == ("Cancelled", "WorkflowDeleted")
        assert engine.run("shop", {"article": "tea"})["state"] == "Succeeded"


def test_a_change_that_cannot_be_served_here_does_not_end_the_engine(tmp_path: Path) -> None:
    file = _write(tmp_path)
    with LocalEngine(file, data_dir=tmp_path / "data") as engine:
        variable = "      - {name: NO_KEY, valueFrom: {secretKeyRef: {name: shop, key: key}}}\n"
        file.write_text(WORKFLOWS.replace("spec:\n", f"spec:\n  runtime:\n    env:\n{variable}", 1))
        engine.poll("the refusal", lambda: "is not taken" in engine.output.read_text())

        assert "NO_KEY" in engine.output.read_text()
        assert engine.run("shop", {"article": "tea"})["state"] == "Succeeded"


def test_a_port_in_use_is_one_sentence(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = cli("dev", _write(tmp_path), "--data-dir", tmp_path / "data", "--port", port)

    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "choose another port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_directory_in_use_is_one_sentence(
    shop: LocalEngine, cli: Cli, tmp_path: Path
) -> None:
    done = cli("dev", _write(tmp_path), "--data-dir", shop.data_dir, "--port", 0)

    assert done.returncode == 2
    assert str(shop.data_dir) in done.stderr
    assert "in use" in done.stderr
    assert "--data-dir" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--broker", "kafka"], ["--secrets", "nowhere"]])
def test_a_wrong_option_exits_with_2(cli: Cli, tmp_path: Path, arguments: list[str]) -> None:
    done = cli("dev", _write(tmp_path), "--data-dir", tmp_path / "data", *arguments)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_process_behind(tmp_path: Path, marked: Any, number: int) -> None:
    engine = LocalEngine(
        _write(tmp_path), data_dir=tmp_path / "data", environment=marked.environment
    )
    with engine:
        engine.run("shop", {"article": "tea"})
        assert len(marked.processes()) > 2  # the engine, its store, a host

        engine.stop(number)

        marked.wait_gone()


def test_it_goes_on_where_it_was_on_the_same_data_directory(tmp_path: Path) -> None:
    file, data = _write(tmp_path), tmp_path / "data"
    with LocalEngine(file, data_dir=data) as engine:
        done = engine.run("shop", {"article": "tea"}, session="ada")
        waiting = engine.start("approve", key="once")
        engine.wait_until(waiting, lambda view: view["state"] == "Waiting")

    with LocalEngine(file, data_dir=data) as engine:
        assert engine.view(done["run"]) == done
        assert engine.view(waiting)["state"] == "Waiting"
        assert engine.start("approve", key="once") == waiting
        engine.signal(waiting, "approval", "tea")
        assert engine.wait(waiting)["state"] == "Succeeded"


def test_the_default_data_directory_is_in_the_users_state_directory(
    cli: Cli, popen: Popen, marked: Any, tmp_path: Path
) -> None:
    marked.environment |= {"XDG_STATE_HOME": str(tmp_path / "state")}
    running = popen(marked, "dev", _write(tmp_path), "--port", "0")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = cli("runs", environment={"XDG_STATE_HOME": str(tmp_path / "state")})
        if found.returncode == 0:
            break

    assert (found.returncode, found.stdout) == (0, "no runs\n"), found.stderr
    os.kill(running.pid, signal.SIGINT)
    running.communicate(timeout=20)
