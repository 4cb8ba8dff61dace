"""agentworkflow: AI-agent workflows that cost nothing while idle.

What the author of functions imports. Each name is loaded when it is first used, so that
`import agentworkflow` costs next to nothing.
"""

# Type checkers know the name; `typing` itself would be most of what this import costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agentworkflow.events.cloudevent import CloudEvent as Event
    from agentworkflow.functions.author import Failure, Retry, function
    from agentworkflow.functions.context import Context

__version__ = "0.1.0"

__all__ = ["Context", "Event", "Failure", "Retry", "__version__", "function"]

_HOMES = {
    "Context": ("agentworkflow.functions.context", "Context"),
    "Event": ("agentworkflow.events.cloudevent", "CloudEvent"),
    "Failure": ("agentworkflow.functions.author", "Failure"),
    "Retry": ("agentworkflow.functions.author", "Retry"),
    "function": ("agentworkflow.functions.author", "function"),
}


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only where a name is asked for

    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
