"""The embedded engine from start to end: a run, an event, a restart, and nothing left behind."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentworkflow.engine.data_dir import DataDirError, DataDirInUse
from agentworkflow.engine.engine import Engine, LocalWorkflow
from agentworkflow.engine.servers import PortInUse, bind
from agentworkflow.engine.settings import EngineSettings
from agentworkflow.engine.workflows import ApplyRefused
from agentworkflow.workflow.validation import validate_text

HANDLERS = """
    import os, time
    from pathlib import Path

    def double(n: int) -> dict:
        with open(Path(__file__).parent / "ledger", "a") as ledger:
            ledger.write(f"{n}\\n")
        return {"n": 2 * n}

    def wait_for_file(name: str) -> str:
        here = Path(__file__).parent
        (here / f"{name}.begun").touch()
        while not (here / name).exists():
            time.sleep(0.01)
        return name

    def tone() -> str | None:
        return os.environ.get("TONE")
"""

WORKFLOW = """
    apiVersion: agentworkflow.dev/v1alpha1
    kind: AgentWorkflow
    metadata: {name: sums}
    spec:
      functions:
        - {name: double, handler: "made:double", scale: {window: 6s, retention: 0s}}
      triggers:
        - {name: made, filters: [{exact: {type: com.example.made}}]}
        - {name: alone, filters: [{exact: {type: com.example.alone}}], function: double,
           input: {n: "${event.data.n}"}, reply: com.example.doubled}
        - {name: answer, filters: [{exact: {type: com.example.doubled}}]}
      steps:
        - {name: first, function: double, input: {n: "${input.n}"}}
        - {name: second, function: double, needs: [first], input: "${steps.first.output}"}
      output: "${steps.second.output}"
"""

WAITING = """
    apiVersion: agentworkflow.dev/v1alpha1
    kind: AgentWorkflow
    metadata: {name: waits}
    spec:
      functions: [{name: wait, handler: "made:wait_for_file"}]
      steps: [{name: only, function: wait, input: {name: "${input.name}"}}]
"""


class Place:
    """A folder with handlers and workflows, and the settings of an engine for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = EngineSettings(data_dir=folder / "data", port=0)
        (folder / "made.py").write_text(textwrap.dedent(HANDLERS), encoding="utf-8")

    def workflow(self, text: str = WORKFLOW) -> LocalWorkflow:
        report = validate_text(textwrap.dedent(text), "workflow.yaml")
        assert [str(each) for each in report.findings] == []
        return LocalWorkflow(report.workflows[0], self.folder)

    def ledger(self) -> list[str]:
        path = self.folder / "ledger"
        return path.read_text(encoding="utf-8").split() if path.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
async def engine(place: Place) -> AsyncIterator[Engine]:
    async with Engine(place.settings) as started:
        yield started


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(45):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


async def request(engine: Engine, method: str, path: str, **given: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        url = f"{engine.urls['api']}/v1/namespaces/default{path}"
        return await client.request(method, url, **given)


async def start_run(engine: Engine, workflow: str, **body: Any) -> str:
    answer = await request(engine, "POST", f"/workflows/{workflow}/runs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run"])


async def finished(engine: Engine, run: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        view: dict[str, Any] = (await request(engine, "GET", f"/runs/{run}")).json()
        return view if view["state"] in ("Succeeded", "Failed", "Cancelled") else None

    found: dict[str, Any] = await until(look)
    return found


async def send(engine: Engine, kind: str, number: int, **data: Any) -> None:
    answer = await request(
        engine,
        "POST",
        "/events",
        json={
            "specversion": "1.0",
            "id": str(number),
            "source": "/test",
            "type": kind,
            "datacontenttype": "application/json",
            "data": data,
        },
        headers={"content-type": "application/cloudevents+json"},
    )
    assert answer.status_code == 202, answer.text


async def runs_of(engine: Engine, workflow: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        await request(engine, "GET", "/runs", params={"workflow": workflow})
    ).json()["items"]
    return found


async def test_a_run_goes_through_its_steps_and_scales_back_to_zero(
    place: Place, engine: Engine
) -> None:
    await engine.apply([place.workflow()])
    assert engine.pids == {}
    view = await finished(engine, await start_run(engine, "sums", n=3))
    assert (view["state"], view["output"]) == ("Succeeded", {"n": 12}), view
    assert list(engine.pids) == ["default/sums/double"]
    await until(lambda: not engine.pids)


async def test_an_event_starts_a_run_once(place: Place, engine: Engine) -> None:
    await engine.apply([place.workflow()])
    for _ in range(2):
        await send(engine, "com.example.made", 1, n=5)
    (run,) = await until(lambda: runs_of(engine, "sums"))
    assert (await finished(engine, run["run"]))["output"] == {"n": 20}
    assert len(await runs_of(engine, "sums")) == 1
    assert place.ledger() == ["5", "10"]


async def test_a_function_without_a_run_answers_with_an_event_that_starts_one(
    place: Place, engine: Engine
) -> None:
    await engine.apply([place.workflow()])
    await send(engine, "com.example.alone", 1, n=1)
    (run,) = await until(lambda: runs_of(engine, "sums"))
    view = await finished(engine, run["run"])
    assert view["output"] == {"n": 8}
    assert view["startedBy"]["event"]["type"] == "com.example.doubled"


async def dead_letter(engine: Engine) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        items = (await request(engine, "GET", "/dead-letters")).json()["items"]
        return items[0] if items else None

    found: dict[str, Any] = await until(look)
    return found


async def test_what_a_function_refuses_is_a_dead_letter_that_can_be_sent_again(
    place: Place, engine: Engine
) -> None:
    await engine.apply([place.workflow()])
    await send(engine, "com.example.alone", 1, n="no number")
    letter = await dead_letter(engine)
    assert (letter["target"], letter["code"]) == ("alone", 422)
    code = textwrap.dedent(HANDLERS).replace("def double(n: int)", "def double(n)")
    # Python takes old byte code for a file of the same second and size, so the size has to change.
    code = code.replace("2 * n", "2 * len(n)") + "\n# as a text\n"
    (place.folder / "made.py").write_text(code, encoding="utf-8")
    await engine.apply([place.workflow()], code_changed=True)
    answer = await request(engine, "POST", f"/dead-letters/{letter['id']}/redrive")
    assert answer.is_success, answer.text
    await until(lambda: runs_of(engine, "sums"))
    assert "no" in place.ledger()


async def test_events_that_cause_each_other_end_as_a_dead_letter_with_reason_loop(
    place: Place, engine: Engine
) -> None:
    text = WORKFLOW.replace("reply: com.example.doubled", "reply: com.example.alone")
    await engine.apply([place.workflow(text)])
    await send(engine, "com.example.alone", 1, n=1)
    letter = await dead_letter(engine)
    assert letter["reason"] == "Loop"
    assert place.ledger() == [str(2**n) for n in range(17)]


async def test_the_engine_says_where_it_is_and_keeps_its_secret_to_itself(
    place: Place, engine: Engine
) -> None:
    await engine.apply([])
    data = place.settings.data_dir
    said = json.loads((data / "engine.json").read_text(encoding="utf-8"))
    assert said == {"pid": os.getpid(), **engine.urls}
    assert stat.S_IMODE((data / "engine.key").stat().st_mode) == 0o600
    await engine.stop()
    assert not (data / "engine.json").exists()


async def test_a_data_directory_in_use_is_refused_with_the_other_process(
    place: Place, engine: Engine
) -> None:
    with pytest.raises(DataDirInUse, match=rf"process {os.getpid()}\).*--data-dir"):
        await Engine(place.settings).start()
    await engine.apply([])


async def test_a_port_in_use_is_refused_and_named(tmp_path: Path) -> None:
    taken = bind("127.0.0.1", 0, "a test")
    port = taken.getsockname()[1]
    settings = EngineSettings(data_dir=tmp_path, port=port)
    with pytest.raises(PortInUse, match=rf"port {port} on 127.0.0.1, wanted for the API"):
        await Engine(settings).start()
    taken.close()
    async with Engine(settings):
        pass


async def test_a_secret_that_others_may_read_is_refused(place: Place) -> None:
    async with Engine(place.settings):
        pass
    (place.settings.data_dir / "engine.key").chmod(0o644)
    with pytest.raises(DataDirError, match="chmod 600"):
        await Engine(place.settings).start()


async def test_a_function_that_needs_a_command_is_refused_by_name(
    place: Place, engine: Engine
) -> None:
    text = WORKFLOW.replace('handler: "made:double"', "image: registry.example/double:1")
    with pytest.raises(ApplyRefused, match=r"default/sums: double: .*--command double="):
        await engine.apply([place.workflow(text)])
    assert engine.served == {}


async def test_runs_in_flight_go_on_after_a_restart(place: Place) -> None:
    async with Engine(place.settings) as first:
        await first.apply([place.workflow(), place.workflow(WAITING)])
        secret = (place.settings.data_dir / "engine.key").read_text(encoding="utf-8")
        run = await start_run(first, "waits", name="go")
        await until((place.folder / "go.begun").exists)
        ended = await finished(first, await start_run(first, "sums", n=1))
    (place.folder / "go").touch()
    async with Engine(place.settings) as second:
        await second.apply([place.workflow(), place.workflow(WAITING)])
        view = await finished(second, run)
        assert view["state"] == "Succeeded", json.dumps(view)
        assert (await finished(second, ended["run"]))["output"] == ended["output"]
    assert (place.settings.data_dir / "engine.key").read_text(encoding="utf-8") == secret


async def test_a_workflow_that_is_not_named_again_ends_its_runs_and_is_no_longer_offered(
    place: Place,
) -> None:
    async with Engine(place.settings) as first:
        await first.apply([place.workflow(), place.workflow(WAITING)])
        run = await start_run(first, "waits", name="go")
        await until((place.folder / "go.begun").exists)
    (place.folder / "go").touch()
    async with Engine(place.settings) as second:
        await second.apply([])
        view = await finished(second, run)
        assert view["state"] == "Succeeded", json.dumps(view)
        assert (await request(second, "GET", "/workflows/sums")).status_code == 404


async def test_the_death_of_the_store_is_survived(place: Place, engine: Engine) -> None:
    await engine.apply([place.workflow()])
    before = await finished(engine, await start_run(engine, "sums", n=1))
    pid = engine._supervisor._valkey.pid if engine._supervisor else None
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async def start_again() -> bool:
        answer = await request(engine, "POST", "/workflows/sums/runs", json={"n": 2})
        return answer.status_code == 202

    await until(start_again)
    assert (await finished(engine, before["run"]))["output"] == before["output"]
    await send(engine, "com.example.made", 1, n=7)
    await until(lambda: "14" in place.ledger())


async def test_changed_code_is_taken_by_the_next_call(place: Place, engine: Engine) -> None:
    await engine.apply([place.workflow()])
    await finished(engine, await start_run(engine, "sums", n=1))
    code = textwrap.dedent(HANDLERS).replace("2 * n", "10 * n")
    (place.folder / "made.py").write_text(code, encoding="utf-8")
    await engine.apply([place.workflow()], code_changed=True)
    assert (await finished(engine, await start_run(engine, "sums", n=1)))["output"] == {"n": 100}


async def test_a_withdrawn_workflow_cancels_its_runs_and_takes_no_events(
    place: Place, engine: Engine
) -> None:
    await engine.apply([place.workflow(), place.workflow(WAITING)])
    run = await start_run(engine, "waits", name="never")
    await until((place.folder / "never.begun").exists)
    await engine.withdraw("default", "waits")
    view = await finished(engine, run)
    assert (view["state"], view["reason"]) == ("Cancelled", "WorkflowDeleted")
    assert (await request(engine, "GET", "/workflows/waits")).status_code == 404
    await engine.withdraw("default", "sums")
    await send(engine, "com.example.made", 1, n=5)
    assert engine.served == {}


async def test_a_function_that_leaves_and_comes_back_is_served_on(
    place: Place, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentworkflow.engine.workflows._LOOK", 0.05)
    other = '{name: other, handler: "made:double", retry: {limit: 0}}'
    both = WAITING.replace("functions: [", f"functions: [{other}, ")
    calling = both.replace("steps: [", "steps: [{name: first, function: other, input: {n: 1}}, ")
    await engine.apply([place.workflow(both)])
    run = await start_run(engine, "waits", name="go")
    await until((place.folder / "go.begun").exists)
    await engine.apply([place.workflow(WAITING)])
    await engine.apply([place.workflow(calling)])
    (place.folder / "go").touch()
    await finished(engine, run)
    # What was put off while runs went on, ten looks of it, must not end the function now.
    last = asyncio.get_running_loop().time() + 0.5
    while asyncio.get_running_loop().time() < last:
        view = await finished(engine, await start_run(engine, "waits", name="go"))
        assert view["state"] == "Succeeded", json.dumps(view)


async def test_a_workflow_that_moves_to_another_broker_leaves_the_first(
    place: Place, engine: Engine
) -> None:
    await engine.apply([place.workflow()])
    moved = WORKFLOW.replace("spec:", "spec:\n      broker: {name: orders}")
    await engine.apply([place.workflow(moved)])
    await send(engine, "com.example.made", 1, n=5)
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{engine.urls['broker']}/default/orders",
            headers={"ce-specversion": "1.0", "ce-id": "2", "ce-source": "/test"}
            | {"ce-type": "com.example.made", "content-type": "application/json"},
            content=b'{"n": 6}',
        )
    assert answer.status_code == 202
    await until(lambda: "12" in place.ledger())
    assert place.ledger() == ["6", "12"]


async def test_secrets_come_from_files_and_go_to_their_function_only(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "secrets" / "music").mkdir(parents=True)
    (tmp_path / "secrets" / "music" / "tone").write_text("loud\n", encoding="utf-8")
    workflow = """
        apiVersion: agentworkflow.dev/v1alpha1
        kind: AgentWorkflow
        metadata: {name: tones}
        spec:
          functions:
            - name: told
              handler: "made:tone"
              env: [{name: TONE, valueFrom: {secretKeyRef: {name: music, key: tone}}}]
            - {name: untold, handler: "made:tone"}
          steps: [{name: a, function: told}, {name: b, function: untold}]
          output: {a: "${steps.a.output}", b: "${steps.b.output}"}
    """
    settings = EngineSettings(data_dir=tmp_path / "data", port=0)
    async with Engine(settings) as without:
        with pytest.raises(ApplyRefused, match=r"music/tone.*--secrets"):
            await without.apply([place.workflow(workflow)])
    settings = EngineSettings(data_dir=tmp_path / "data", port=0, secrets_dir=tmp_path / "secrets")
    async with Engine(settings) as engine:
        await engine.apply([place.workflow(workflow)])
        view = await finished(engine, await start_run(engine, "tones"))
    assert view["output"] == {"a": "loud", "b": None}


# --- ends -------------------------------------------------------------------------------------

PROGRAM = """
    import asyncio, sys
    from pathlib import Path
    from agentworkflow.engine.engine import Engine, LocalWorkflow
    from agentworkflow.engine.settings import EngineSettings
    from agentworkflow.workflow.validation import validate_text

    async def main(folder: Path) -> None:
        text = (folder / "workflow.yaml").read_text()
        workflows = validate_text(text, "workflow.yaml").workflows
        async with Engine(EngineSettings(data_dir=folder / "data", port=0)) as engine:
            await engine.apply([LocalWorkflow(each, folder) for each in workflows])
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(2, stop.set)
            await stop.wait()

    asyncio.run(main(Path(sys.argv[1])))
"""


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
async def test_no_process_outlives_the_engine_and_its_runs_end_in_the_next(
    place: Place, end: signal.Signals
) -> None:
    (place.folder / "workflow.yaml").write_text(textwrap.dedent(WAITING), encoding="utf-8")
    process = subprocess.Popen(  # noqa: ASYNC220 - it is killed, and must not be reaped for us
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(place.folder)],
    )
    said = place.settings.data_dir / "engine.json"
    await until(said.exists)
    urls = json.loads(said.read_text(encoding="utf-8"))
    assert urls.pop("pid") == process.pid
    async with httpx2.AsyncClient(trust_env=False, base_url=urls["api"]) as client:
        answer = await client.post(
            "/v1/namespaces/default/workflows/waits/runs", json={"name": "go"}
        )
        run = answer.json()["run"]
    await until((place.folder / "go.begun").exists)
    tree = descendants(process.pid)
    assert len(tree) >= 4
    process.send_signal(end)
    await until(lambda: process.poll() is not None)
    assert process.returncode == (0 if end == signal.SIGINT else -signal.SIGKILL)
    await until(lambda: all(map(gone, tree)))
    (place.folder / "go").touch()
    async with Engine(place.settings) as engine:
        await engine.apply([place.workflow(WAITING)])
        view = await finished(engine, run)
        assert view["state"] == "Succeeded", json.dumps(view)
