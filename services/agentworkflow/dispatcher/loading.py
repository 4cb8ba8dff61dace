"""Everything heavy that a dispatcher process needs, imported at once after its socket is bound."""

import structlog

from agentworkflow.dispatcher.core import Core
from agentworkflow.dispatcher.doors import Doors
from agentworkflow.dispatcher.logs import configure_logs
from agentworkflow.store import Store, StoreUnavailable

__all__ = ["Core", "Doors", "Store", "StoreUnavailable", "configure_logs", "structlog"]
