"""A whole workflow under test: the real file, the real fold, functions real or replaced."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.json_format import from_json, to_json
from agentworkflow.events.types import STEP_REQUESTED
from agentworkflow.functions.binding import InputRefused, Schema
from agentworkflow.functions.context import Context
from agentworkflow.functions.loading import Loaded, load
from agentworkflow.functions.signature import read_signature
from agentworkflow.functions.table import FunctionEntry
from agentworkflow.runs.events import RunRequested, RunStarted
from agentworkflow.runs.ids import run_id_of_event, run_id_of_request
from agentworkflow.runs.model import blank
from agentworkflow.runs.values import Inline
from agentworkflow.testing.calls import CallResult, call_loaded
from agentworkflow.testing.paths import on_path
from agentworkflow.testing.virtual_run import VirtualRun
from agentworkflow.workflow.definition import Definition, TriggerSpec, compile_definition
from agentworkflow.workflow.models import AgentWorkflow, Function
from agentworkflow.workflow.validation import validate_text


class WorkflowTestError(AssertionError):
    """The test asks for something that the workflow does not have; the message says what it has."""


class WorkflowTest:
    """A workflow whose runs a test makes and watches, in this process and without waiting.

    ```python
    workflow = WorkflowTest("workflow.yaml")
    workflow.replace("send-notification", lambda **fields: "sent")
    run = workflow.run(input={"order": "A-17"})
    assert run.output == {"message": "sent"}
    ```

    Functions that are not replaced are imported from the workflow's folder and its `src/`, and
    called on this thread: no `timeout`, `memory` or `concurrency` is enforced here. A run's steps,
    conditions, retries, waits, sessions and deadlines are those of production.

    Args:
        file: the workflow file.
        name: which workflow, if the file holds several.
        now: the time at which runs start; the present without it.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        name: str | None = None,
        now: datetime | None = None,
    ) -> None:
        path = Path(file)
        resource = _read(path, name)
        self._definition: Definition = compile_definition(resource)
        self._functions: Mapping[str, Function] = {f.name: f for f in resource.spec.functions}
        self._folder = path.resolve().parent
        self._now = now or datetime.now(UTC)
        self._loaded: dict[str, Loaded] = {}
        self._sessions: dict[str, Any] = {}
        self._started = 0

    def replace(self, function: str, replacement: Callable[..., Any]) -> None:
        """Call `replacement` wherever the workflow calls `function`.

        It is called as a handler is: the step's input by parameter names, checked by their
        annotations, with a `Context` where one is asked for. It may raise `Retry`, `Failure`,
        and, to play what befalls a process, `Crash` or `Overrun`.
        """
        self._require(function)
        entry = FunctionEntry(name=function, handler="test:replacement")
        self._loaded[function] = Loaded(entry, replacement, read_signature(replacement), None, None)

    def start(
        self,
        *,
        input: Any = None,  # noqa: A002 - the word of the resource
        event: CloudEvent | Mapping[str, Any] | None = None,
        session: str | None = None,
    ) -> VirtualRun:
        """Start a run by an input, or by an event that a trigger must match.

        It goes on until it ends or waits: for a signal, or for time to pass (`advance`). The
        delays between the attempts of a step pass at once.

        Raises:
            WorkflowTestError: the input does not fit `inputSchema`, or no trigger matches.
        """
        now = round(self._now.timestamp() * 1000)
        self._started += 1
        if event is None:
            value = {} if input is None else input
            identifier = self._request_id(session)
            kind, trigger, stored, seen = "api", None, None, None
        else:
            if input is not None:
                raise WorkflowTestError("give an input or an event: a trigger makes the input.")
            seen = event if isinstance(event, CloudEvent) else from_json(dict(event))
            spec = self._match(seen)
            value, session = spec.input_of(seen), spec.session_of(seen)
            identifier = self._event_id(session, seen)
            kind, trigger, stored = "event", spec.name, Inline(to_json(seen))
        self._check_input(value)
        deadline = self._definition.deadline_ms
        requested = RunRequested(
            time=now,
            digest=self._definition.digest,
            input=Inline(value),
            kind=kind,
            trigger=trigger,
            event=stored,
            cause=None
            if seen is None
            else {"source": seen.source, "id": seen.id, "type": seen.type},
            session=session,
            deadline=None if deadline is None else now + deadline,
        )
        known = None if session is None else self._sessions.get(session)
        started = RunStarted(time=now, session=Inline(known))
        run = blank(identifier, f"test-{self._started}", self._definition)
        return VirtualRun(run, (requested, started), self._call)

    def run(
        self,
        *,
        input: Any = None,  # noqa: A002 - the word of the resource
        event: CloudEvent | Mapping[str, Any] | None = None,
        session: str | None = None,
        signals: Mapping[str, Any] | None = None,
    ) -> VirtualRun:
        """Start a run and let as much time pass as it needs to end.

        Args:
            input: the run's input.
            event: the event that starts it, instead.
            session: the session that it belongs to; its value goes on from run to run.
            signals: signals that the run has from the start, by name.
        """
        run = self.start(input=input, event=event, session=session)
        for name, value in (signals or {}).items():
            run.signal(name, value)
        run.finish()
        if run.new_session is not None:
            name, value = run.new_session
            self._sessions[name] = value
        return run

    def session(self, session: str) -> Any:
        """The value of a session after the runs so far; None at first."""
        return self._sessions.get(session)

    # --- inside ---------------------------------------------------------------------------

    def _call(self, function: str, given: Any, context: Context) -> CallResult:
        loaded = self._loaded.get(function)
        if loaded is None:
            loaded = self._loaded[function] = self._load(function)
        event = CloudEvent(
            id=f"{context.idempotency_key}/{context.attempt}/requested",
            source=f"/agentworkflow/{context.namespace}/{context.workflow}",
            type=STEP_REQUESTED,
            data=given,
        )
        return call_loaded(loaded, event, context, strict=True)

    def _load(self, name: str) -> Loaded:
        function = self._require(name)
        if function.handler is None:
            raise WorkflowTestError(
                f"function {name!r} has no handler, only an image: replace it in the test."
            )
        path = (str(self._folder), str(self._folder / "src"))
        entry = FunctionEntry(
            name=name,
            handler=function.handler,
            input_schema=function.input_schema,
            output_schema=function.output_schema,
        )
        with on_path(path):
            return load(entry, path)

    def _require(self, name: str) -> Function:
        if name not in self._functions:
            raise WorkflowTestError(
                f"workflow {self._definition.name!r} has no function {name!r}; "
                f"it has {', '.join(self._functions)}."
            )
        return self._functions[name]

    def _match(self, event: CloudEvent) -> TriggerSpec:
        triggers = [each for each in self._definition.triggers.values() if each.function is None]
        for trigger in triggers:
            if trigger.filter.matches(event):
                return trigger
        known = ", ".join(trigger.name for trigger in triggers) or "none"
        raise WorkflowTestError(
            f"no trigger matches the event {event.type} {event.id}; triggers that start a run: "
            f"{known}."
        )

    def _check_input(self, value: Any) -> None:
        if self._definition.input_schema is None:
            return
        try:
            Schema(self._definition.input_schema).check(value)
        except InputRefused as error:
            raise WorkflowTestError(
                f"the input does not fit inputSchema of {self._definition.name!r}: {error}"
            ) from error

    def _request_id(self, session: str | None) -> str:
        return run_id_of_request(
            self._definition.namespace,
            self._definition.name,
            session,
            f"test-{self._started}",
            shards=1,
        )

    def _event_id(self, session: str | None, event: CloudEvent) -> str:
        return run_id_of_event(
            self._definition.namespace,
            self._definition.name,
            session,
            event.source,
            event.id,
            shards=1,
        )


def _read(file: Path, name: str | None) -> AgentWorkflow:
    report = validate_text(file.read_text(encoding="utf-8"), str(file))
    if report.findings:
        raise WorkflowTestError("\n".join(str(finding) for finding in report.findings))
    found = {workflow.metadata.name: workflow for workflow in report.workflows}
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        asked = "give its name" if name is None else f"it has no {name!r}"
        raise WorkflowTestError(f"{file} holds the workflows {', '.join(found)}: {asked}.")
    return found[name]
