"""Calls one function as a host does, on this thread: for tests of functions one by one.

Input is converted and checked by the handler's annotations, the result is written as JSON and read
back, and whatever the handler raises becomes what its step would be told.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.types import STEP_REQUESTED
from agentworkflow.functions.author import name_of
from agentworkflow.functions.calling import finish, outcome_of_error, prepare_event
from agentworkflow.functions.context import Context
from agentworkflow.functions.loading import Loaded
from agentworkflow.functions.outcomes import Failed, Outcome, Reason, Returned
from agentworkflow.functions.result import encode_result
from agentworkflow.functions.signature import read_signature
from agentworkflow.functions.table import FunctionEntry

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of `ctx.progress(…)`."""

    fraction: float
    message: str


@dataclass(frozen=True, slots=True)
class CallResult:
    """What became of one call.

    Attributes:
        reason: None if the handler returned; else the protocol's word: `Retry`, `Failure`,
            `InvalidInput`, `BadAnswer`, ….
        problem: `type`, `title`, `detail` and `errors` of a call that failed.
        retry_after: seconds that `Retry(after=…)` asked for.
        progress: every report, in order; a host passes on at most one a second.
        error: the exception that the handler raised.
    """

    reason: str | None = None
    problem: Mapping[str, Any] | None = None
    retry_after: float | None = None
    progress: tuple[Progress, ...] = ()
    error: BaseException | None = field(default=None, repr=False, compare=False)
    value: Any = field(default=None, repr=False)

    @property
    def succeeded(self) -> bool:
        """The handler returned."""
        return self.reason is None

    @property
    def output(self) -> Any:
        """What the handler returned, as the next step sees it: JSON.

        Raises:
            CallFailedError: the handler did not return.
        """
        if self.reason is not None:
            raise CallFailedError(self.reason, self.problem or {}) from self.error
        return self.value


class CallFailedError(AssertionError):
    """The output of a call was asked for that has none, because it failed."""

    def __init__(self, reason: str, problem: Mapping[str, Any]) -> None:
        super().__init__(f"the call failed with {reason}: {json.dumps(dict(problem))}")


class Crash(Exception):  # noqa: N818 - what happens to the process, not an error of the test
    """Raise it in a replacement, to let the attempt end as if its process had died."""

    reason: Reason = "Crash"


class Overrun(Exception):  # noqa: N818 - likewise
    """Raise it in a replacement, to let the attempt end as if it had overrun its `timeout`."""

    reason: Reason = "DeadlineExceeded"


def call(
    function: Handler,
    *,
    input: Any = None,  # noqa: A002 - the word of the resource
    event: CloudEvent | None = None,
    context: Context | None = None,
) -> CallResult:
    """Call a function as a step does, or as a trigger does if there is an event and no input.

    ```python
    result = call(analyze_data, input={"order": "A-17"}, context=Context(attempt=2))
    assert result.output == {"total": 12.5}
    ```

    Args:
        function: the handler, with or without `@function`.
        input: the fields of the step's input; dataclasses and models are written as JSON. A field
            that the handler does not take is refused, as in a step.
        event: the event that a handler with an `Event` parameter sees. Without `input` its data
            are the fields, and unknown ones are ignored, as with a trigger's function.
        context: what a handler with a `Context` parameter sees.
    """
    signature = read_signature(function)
    entry = FunctionEntry(name=name_of(function), handler="test:function")
    data = {} if input is None else json.loads(encode_result(input))
    if event is None:
        seen = CloudEvent(id="test", source="/test", type=STEP_REQUESTED, data=data)
    else:
        seen = event if input is None else event.replace(data=data)
    strict = event is None or input is not None
    return call_loaded(Loaded(entry, function, signature, None, None), seen, context, strict=strict)


def call_loaded(
    loaded: Loaded, event: CloudEvent, context: Context | None, *, strict: bool
) -> CallResult:
    """Call a function that is loaded, with an event whose data are its input."""
    reports: list[Progress] = []
    given = context or Context(function=loaded.entry.name)

    def report(fraction: float, message: str) -> None:
        reports.append(Progress(fraction, message))
        given.report(fraction, message)

    raised: BaseException | None = None
    outcome: Outcome
    try:
        run = prepare_event(
            loaded, event, replace(given, report=report), trigger=None, strict=strict
        )
        value = run()
        if asyncio.iscoroutine(value):
            value = _complete(value)
        outcome = finish(loaded, value)
    except (Crash, Overrun) as error:
        raised, outcome = error, Failed(reason=error.reason, title=str(error) or error.reason)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its call only
        raised, outcome = error, outcome_of_error(error)
    if isinstance(outcome, Returned):
        return CallResult(progress=tuple(reports), value=json.loads(outcome.output))
    return CallResult(
        reason=outcome.reason,
        problem=outcome.problem(),
        retry_after=outcome.retry_after,
        progress=tuple(reports),
        error=raised,
    )


def _complete(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, in a thread of its own where a loop runs already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    answers: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - raised again below, where the caller is
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]
