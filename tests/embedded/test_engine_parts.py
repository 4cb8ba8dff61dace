"""The parts of the engine at work: pool, commands, a lossy broker, schedules."""

import asyncio
import json
import textwrap
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentworkflow.engine.engine import Engine, LocalWorkflow
from agentworkflow.engine.lossy import Lossy
from agentworkflow.engine.schedule import ScheduleSource
from agentworkflow.engine.settings import EngineSettings
from agentworkflow.testing import LocalEngine
from agentworkflow.workflow.validation import validate_text

HEAD = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: made}
spec:
"""

HANDLERS = """
def double(n: int = 1) -> int:
    return 2 * n
"""

SERVER = """
import http.server, json, os

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"greeting": f"{given['name']} in {os.environ['REGION']}"}).encode()
        self.send_response(200)
        for name in ("run", "step", "item", "attempt", "token", "function"):
            value = self.headers.get(f"ce-awf{name}")
            if value:
                self.send_header(f"ce-awf{name}", value)
        self.send_header("ce-specversion", "1.0")
        self.send_header("ce-type", "dev.agentworkflow.step.completed")
        self.send_header("ce-source", "/legacy")
        self.send_header("ce-id", self.headers["ce-id"].removesuffix("requested") + "completed")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""


class Folder:
    """A workflow with its handlers, and engines for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "handlers.py").write_text(HANDLERS, encoding="utf-8")
        (path / "server.py").write_text(SERVER, encoding="utf-8")

    def write(self, spec: str) -> Path:
        file = self.path / "workflow.yaml"
        file.write_text(HEAD + textwrap.indent(textwrap.dedent(spec), "  "), encoding="utf-8")
        return file

    def engine(self, spec: str, *arguments: str) -> LocalEngine:
        return LocalEngine(self.write(spec), data_dir=self.path / "data", arguments=list(arguments))

    def local(self, spec: str) -> LocalWorkflow:
        report = validate_text(self.write(spec).read_text(encoding="utf-8"), "workflow.yaml")
        assert [str(each) for each in report.findings] == []
        return LocalWorkflow(report.workflows[0], self.path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def hosts_of(engine: LocalEngine) -> list[str]:
    """The tables of the function hosts that are direct children of the engine."""
    found = []
    for task in Path(f"/proc/{engine.process.pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            if "--table" in words:
                found.append(Path(words[words.index("--table") + 1]).stem)
    return found


def test_a_pool_is_kept_running_and_takes_the_step(folder: Folder) -> None:
    spec = """
        functions: [{name: double, handler: "handlers:double"}]
        steps: [{name: only, function: double, input: {n: 4}}]
        warmPool: {size: 1}
    """
    with folder.engine(spec) as engine:
        assert hosts_of(engine) == ["pool"]
        # The first may come while the pool still imports the handlers.
        engine.run("made")
        run = engine.run("made")
        assert run["output"] == {"only": 8}
        assert run["steps"][0]["startType"] == "pool"
        assert hosts_of(engine) == ["pool"]


def test_a_function_with_a_scale_of_one_is_running_before_it_is_called(folder: Folder) -> None:
    spec = """
        functions: [{name: double, handler: "handlers:double", scale: {min: 1}}]
        steps: [{name: only, function: double}]
    """
    with folder.engine(spec) as engine:
        assert hosts_of(engine) == ["double"]


def test_a_function_of_an_image_is_served_by_a_command(folder: Folder) -> None:
    spec = """
        functions:
          - {name: greet, image: "registry.example/greet:1", env: [{name: REGION, value: eu}]}
        steps: [{name: only, function: greet, input: {name: "${input.name}"}}]
        output: "${steps.only.output.greeting}"
    """
    with folder.engine(spec, "--command", "greet=python3 server.py") as engine:
        assert engine.run("made", {"name": "Ada"})["output"] == "Ada in eu"


async def until(condition: Any) -> Any:
    async with asyncio.timeout(40):
        while not (found := await condition()):  # noqa: ASYNC110 - a server is asked
            await asyncio.sleep(0.05)
        return found


async def runs(engine: Engine) -> list[dict[str, Any]]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{engine.urls['api']}/v1/namespaces/default/runs?limit=100")
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


async def test_a_schedule_starts_runs_and_each_tick_only_one(folder: Folder) -> None:
    spec = """
        functions: [{name: double, handler: "handlers:double"}]
        triggers: [{name: nightly, filters: [{exact: {type: dev.knative.sources.ping}}]}]
        sources: [{name: nightly, schedule: {cron: "0 0 1 1 *", data: {n: 21}}}]
        steps: [{name: only, function: double, input: {n: "${input.n}"}}]
    """
    settings = EngineSettings(data_dir=folder.path / "data", port=0)
    source = "/apis/v1/namespaces/default/pingsources/made--nightly"
    ids: set[str] = set()
    for _ in range(2):
        async with Engine(settings) as engine:
            await engine.apply([folder.local(spec)])
            assert engine._parts is not None
            # The resource's cron has no seconds; the source itself does.
            quick = ScheduleSource(
                "default", "made--nightly", "default/default", "* * * * * *", data={"n": 21}
            )
            await engine._parts.schedules.replace("default/made", [quick])
            seen = len(ids)

            async def enough(engine: Engine = engine, seen: int = seen) -> list[dict[str, Any]]:
                found = await runs(engine)
                return found if len(found) >= seen + 2 else []

            found = await until(enough)
            events = [run["startedBy"]["event"] for run in found]
            assert {event["source"] for event in events} == {source}
            ids |= {event["id"] for event in events}
            assert len(ids) == len(events)


async def test_every_run_ends_once_though_the_broker_is_lossy(folder: Folder) -> None:
    spec = """
        functions: [{name: double, handler: "handlers:double"}]
        triggers: [{name: any, filters: [{exact: {type: t}}]}]
        steps: [{name: only, function: double, input: {n: "${input.n}"}}]
    """
    lossy = Lossy(seed=3, drop=0.2, duplicate=0.5, reorder=0.5, hold=0.3)
    settings = EngineSettings(data_dir=folder.path / "data", port=0, lossy=lossy)
    async with Engine(settings) as engine:
        await engine.apply([folder.local(spec)])
        members = [
            {"specversion": "1.0", "id": str(n), "source": "/t", "type": "t", "data": {"n": n}}
            for n in range(30)
        ]
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"{engine.urls['broker']}/default/default",
                content=json.dumps(members),
                headers={"content-type": "application/cloudevents-batch+json"},
            )
        assert answer.status_code == 202

        async def settled() -> bool:
            assert engine._parts is not None
            (counts,) = engine._parts.broker.counts().values()
            found = await runs(engine)
            arrived = counts.lost + len(found) >= 30
            return arrived and all(run["state"] == "Succeeded" for run in found)

        await until(settled)
        found = await runs(engine)
        assert 0 < len(found) < 30
        assert len({run["startedBy"]["event"]["id"] for run in found}) == len(found)
