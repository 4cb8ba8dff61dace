"""The promise under fire: any one process is killed once, in the middle of fifty runs.

Each run that was acknowledged reaches exactly one terminal state, and each idempotency key has one
entry in the ledger, written by handlers with `O_EXCL`.

`AGENTWORKFLOW_KILL_ROUNDS` repeats it at more moments than the one that CI tries.
"""

import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from agentworkflow.testing import LocalEngine, LocalEngineError

RUNS = 50
ROUNDS = int(os.environ.get("AGENTWORKFLOW_KILL_ROUNDS", "1"))
STEPS = ("charge", "pack", "send")

WORKFLOW = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: ledger}
spec:
  functions:
    - {name: forked, handler: "ledger_functions:forked", concurrency: 4,
       retry: {limit: 10, delay: 50ms}}
    - {name: worked, handler: "ledger_functions:worked", concurrency: 20,
       retry: {limit: 10, delay: 50ms}}
  steps:
    - {name: charge, function: forked, input: {ledger: "${input.ledger}"}}
    - {name: pack, function: worked, needs: [charge], input: {ledger: "${input.ledger}"}}
    - {name: send, function: forked, needs: [pack], input: {ledger: "${input.ledger}"}}
"""
FUNCTIONS = """
import asyncio, os, time
from agentworkflow import Context

def note(ledger: str, key: str, attempt: int) -> bool:
    try:
        entry = os.open(
            os.path.join(ledger, key.replace("/", "_")), os.O_CREAT | os.O_EXCL | os.O_WRONLY
        )
    except FileExistsError:
        return False
    os.write(entry, str(attempt).encode())
    os.close(entry)
    return True

def forked(ledger: str, ctx: Context) -> bool:
    time.sleep(0.03)
    first = note(ledger, ctx.idempotency_key, ctx.attempt)
    time.sleep(0.02)
    return first

async def worked(ledger: str, ctx: Context) -> bool:
    await asyncio.sleep(0.05)
    first = note(ledger, ctx.idempotency_key, ctx.attempt)
    await asyncio.sleep(0.02)
    return first
"""


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children())
    except psutil.NoSuchProcess:
        return []


def _victims(engine: LocalEngine, kind: str) -> list[psutil.Process]:
    """The processes of a kind that live now: engine → front → zygote → children and workers."""
    root = psutil.Process(engine.process.pid)
    fronts = {
        name: [child for child in _children(root) if f"/{name}.json" in _line(child)]
        for name in ("forked", "worked")
    }
    both = fronts["forked"] + fronts["worked"]
    if kind == "engine":
        return [root]
    if kind == "valkey":
        return [child for child in _children(root) if "valkey-server" in _line(child)]
    if kind == "front":
        return both
    if kind == "zygote":
        return [zygote for front in both for zygote in _children(front)]
    hosts = fronts["forked" if kind == "child" else "worked"]
    return [each for front in hosts for zygote in _children(front) for each in _children(zygote)]


def _ask(engine: LocalEngine, question: Callable[[], Any]) -> Any:
    """Ask until the engine answers: while its store is down, it says 503."""

    def check() -> Any:
        try:
            return (question(),)
        except (LocalEngineError, httpx2.TransportError) as error:
            if isinstance(error, LocalEngineError) and "503" not in str(error):
                raise
            return None

    return engine.poll("an answer", check)[0]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("kind", ["engine", "valkey", "front", "zygote", "child", "worker"])
def test_killing_one_process_loses_no_run_and_doubles_no_effect(
    tmp_path: Path, marked: Any, kind: str, round_: int
) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    (tmp_path / "ledger_functions.py").write_text(FUNCTIONS)
    file = tmp_path / "workflow.yaml"
    file.write_text(WORKFLOW)
    chance = random.Random(f"{kind} {round_}")
    engine = LocalEngine(file, data_dir=tmp_path / "data", environment=marked.environment)
    with engine:
        runs = [engine.start("ledger", {"ledger": str(ledger)}) for _ in range(RUNS)]
        noted = chance.randrange(5, RUNS * len(STEPS) // 2)
        engine.poll(f"{noted} entries", lambda: len(list(ledger.iterdir())) >= noted)
        victim = chance.choice(engine.poll(f"a {kind}", lambda: _victims(engine, kind)))
        victim.send_signal(signal.SIGKILL)
        if kind == "engine":
            engine.stop(signal.SIGKILL)
            engine.start_process()
        views = [_ask(engine, partial(engine.wait, run, seconds=90)) for run in runs]
        logs = [_ask(engine, partial(engine.log, run)) for run in runs]

    assert {view["state"] for view in views} == {"Succeeded"}
    for log in logs:
        endings = [entry["state"] for entry in log if entry["type"] == "run.finished"]
        assert endings == ["Succeeded"]
    expected = {f"{run}_{step}" for run in runs for step in STEPS}
    assert {entry.name for entry in ledger.iterdir()} == expected
    marked.wait_gone()


def test_a_key_that_was_noted_before_is_seen_again_and_not_noted_twice(tmp_path: Path) -> None:
    # The ledger itself must be able to tell: what it refuses is what the test above counts.
    scope: dict[str, Any] = {}
    exec(compile(FUNCTIONS, "ledger_functions.py", "exec"), scope)

    assert scope["note"](str(tmp_path), "run/charge", 1) is True
    assert scope["note"](str(tmp_path), "run/charge", 2) is False
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["1"]
