"""The options that choose what an engine is made of: store, broker, ports, and other languages."""

import base64
import hmac
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from agentworkflow.engine.lossy import Lossy, plan_fate
from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.events.json_format import from_json
from agentworkflow.testing import LocalEngine

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

WORKFLOW = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: shop}
spec:
  functions:
    - {name: price, handler: "shop_functions:price"}
  triggers:
    - name: ordered
      filters: [{exact: {type: com.example.ordered}}]
  steps:
    - {name: cost, function: price, input: {article: "${input.article}"}}
"""
FUNCTIONS = "def price(article: str): return {'total': len(article)}\n"

OTHER_LANGUAGE = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: legacy}
spec:
  functions:
    - {name: crm, image: "registry.example/crm@sha256:%s"}
  steps:
    - {name: ask, function: crm, input: {customer: "${input.customer}"}}
""" % ("0" * 64)
# An image's own server, in no library of ours: it answers CloudEvents at POST / on $PORT.
SERVER = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        data = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"name": data["customer"].title()}).encode()
        self.send_response(200)
        for name, value in self.headers.items():
            if name.lower().startswith("ce-awf"):
                self.send_header(name, value)
        self.send_header("ce-specversion", "1.0")
        self.send_header("ce-id", self.headers["ce-id"].replace("requested", "completed"))
        self.send_header("ce-source", "/crm")
        self.send_header("ce-type", "dev.agentworkflow.step.completed")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def _write(folder: Path, text: str = WORKFLOW) -> Path:
    (folder / "shop_functions.py").write_text(FUNCTIONS)
    (folder / "server.py").write_text(SERVER)
    file = folder / "workflow.yaml"
    file.write_text(text)
    return file


def _event(number: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"o-{number}",
        "source": "/shop",
        "type": "com.example.ordered",
        "data": {"article": "tea"},
    }


def test_a_function_that_exists_only_as_an_image_is_served_by_a_command(
    cli: Cli, tmp_path: Path
) -> None:
    file = _write(tmp_path, OTHER_LANGUAGE)

    done = cli(
        "run", file, "--input", '{"customer": "ada"}', "--json",
        "--command", f"crm={sys.executable} server.py",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == {"ask": {"name": "Ada"}}


def test_an_image_without_a_command_is_told(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", _write(tmp_path, OTHER_LANGUAGE), "--input", "{}")

    assert done.returncode == 2
    assert "--command crm=" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_that_is_nowhere_is_told(cli: Cli, tmp_path: Path) -> None:
    text = WORKFLOW.replace(
        "spec:\n",
        "spec:\n  runtime:\n    env:\n"
        "      - {name: A_KEY_OF_OURS, valueFrom: {secretKeyRef: {name: shop, key: key}}}\n",
        1,
    )

    done = cli("run", _write(tmp_path, text), "--input", '{"article": "tea"}')

    assert done.returncode == 2
    assert "A_KEY_OF_OURS" in done.stderr
    assert "--secrets" in done.stderr


async def test_another_redis_keeps_the_runs(tmp_path: Path) -> None:
    file = _write(tmp_path)
    async with EmbeddedValkey(tmp_path / "redis") as redis:
        arguments = ["--redis-url", redis.url]
        with LocalEngine(file, data_dir=tmp_path / "one", arguments=arguments) as engine:
            run = engine.run("shop", {"article": "tea"})
        with LocalEngine(file, data_dir=tmp_path / "two", arguments=arguments) as engine:
            assert engine.view(run["run"]) == run


def test_a_redis_that_does_not_answer_is_told(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "dev", _write(tmp_path), "--data-dir", tmp_path / "data", "--port", 0,
        "--redis-url", "redis://127.0.0.1:1",
    )  # fmt: skip

    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_webhook_that_dev_allows_is_told_how_a_run_ends_signed_by_the_kept_secret(
    tmp_path: Path,
) -> None:
    told: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{receiver.server_port}"
        arguments = ["--webhook-host", place]
        with LocalEngine(_write(tmp_path), data_dir=tmp_path / "d", arguments=arguments) as engine:
            answer = engine.http.post(
                "/v1/namespaces/default/workflows/shop/runs",
                params={"webhook": f"http://{place}/told"},
                json={"article": "tea"},
            )
            headers, body = told.get(timeout=30)
            refused = engine.http.post(
                "/v1/namespaces/default/workflows/shop/runs",
                params={"webhook": "http://127.0.0.2:1/"},
                json={"article": "tea"},
            )
        receiver.shutdown()
    pushed = json.loads(body)
    assert (pushed["type"], pushed["data"]["run"]) == ("run.finished", answer.json()["run"])
    secret = (tmp_path / "d" / "webhook.secret").read_text().strip()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert refused.status_code == 422


def test_a_lossy_broker_loses_events_and_doubles_no_run(tmp_path: Path) -> None:
    events = [_event(number) for number in range(150)]
    fates = [plan_fate(Lossy(), "shop/ordered", from_json(event)) for event in events]
    arriving = {event["id"] for event, fate in zip(events, fates, strict=True) if fate.holds}
    assert len(arriving) < len(events)  # or there is nothing to see here

    arguments = ["--broker", "lossy"]
    with LocalEngine(_write(tmp_path), data_dir=tmp_path / "data", arguments=arguments) as engine:
        for event in events:
            engine.send(event)

        def started() -> list[str]:
            runs = engine.runs(workflow="shop", limit=200)
            return [run["startedBy"]["event"]["id"] for run in runs]

        engine.poll("the runs", lambda: len(started()) >= len(arriving))
        assert sorted(started()) == sorted(arriving)


def test_a_route_that_another_workflow_has_is_said_not_to_be_served(tmp_path: Path) -> None:
    routed = WORKFLOW + "  routes:\n    - {path: /go, method: POST, response: Ticket}\n"
    (tmp_path / "first.yaml").write_text(routed)
    (tmp_path / "second.yaml").write_text(routed.replace("name: shop}", "name: store}", 1))
    (tmp_path / "shop_functions.py").write_text(FUNCTIONS)
    files = (tmp_path / "first.yaml", tmp_path / "second.yaml")
    with LocalEngine(*files, data_dir=tmp_path / "data") as engine:
        output = engine.output.read_text()
        run = engine.http.post("/go", json={"article": "tea"}).json()
        assert engine.wait(run["run"])["workflow"] == "shop"
    assert "/go\n" in output
    assert "/go   (not served: default/shop had it first; choose another path)\n" in output
