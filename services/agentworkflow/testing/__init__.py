"""The test kit for authors of functions and workflows.

`call` runs one function with an input, an event and a context:

```python
from agentworkflow.testing import call

def test_ten_articles_get_five_percent_off():
    result = call(price_order, input={"lines": [{"article": "tea", "quantity": 10, "price": 2}]})
    assert result.output == {"total": 19.0, "articles": 10}
```

`WorkflowTest` runs a whole workflow by the real rules, in this process and without waiting, with
functions replaced where the test wants it:

```python
from agentworkflow.testing import WorkflowTest

def test_nobody_approves():
    workflow = WorkflowTest("workflow.yaml")
    workflow.replace("send-notification", lambda **fields: "sent")
    run = workflow.start(input={"order": "A-17"})
    assert run.state == "Waiting"
    run.advance("24h")
    assert run.reason == "StepFailed"
```

`LocalEngine` starts the real engine in a process of its own, for the few tests that want it all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentworkflow.testing.calls import (
        CallFailedError,
        CallResult,
        Crash,
        Overrun,
        Progress,
        call,
    )
    from agentworkflow.testing.local_engine import LocalEngine, LocalEngineError
    from agentworkflow.testing.virtual_run import StepCall, StepResult, StuckError, VirtualRun
    from agentworkflow.testing.workflow_test import WorkflowTest, WorkflowTestError

__all__ = [
    "CallFailedError",
    "CallResult",
    "Crash",
    "LocalEngine",
    "LocalEngineError",
    "Overrun",
    "Progress",
    "StepCall",
    "StepResult",
    "StuckError",
    "VirtualRun",
    "WorkflowTest",
    "WorkflowTestError",
    "call",
]

_HOMES = {
    "LocalEngine": "local_engine",
    "LocalEngineError": "local_engine",
    "StepCall": "virtual_run",
    "StepResult": "virtual_run",
    "StuckError": "virtual_run",
    "VirtualRun": "virtual_run",
    "WorkflowTest": "workflow_test",
    "WorkflowTestError": "workflow_test",
}


def __getattr__(name: str) -> Any:
    # A test of one function loads neither the fold nor an HTTP client.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"agentworkflow.testing.{_HOMES.get(name, 'calls')}")
    return getattr(home, name)
