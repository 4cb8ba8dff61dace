"""What the zygote found out about the functions: which can be used, and which cannot be forked."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentworkflow.functions.outcomes import Failed
from agentworkflow.functions.table import FunctionTable

__all__ = ["Catalog", "Description"]

log = logging.getLogger("agentworkflow.functions")


@dataclass(frozen=True, slots=True)
class Description:
    """What the zygote found out about a function. `failed` is set if it cannot be used."""

    name: str
    members: Mapping[str, Any]
    failed: Failed | None = None

    @property
    def in_worker(self) -> bool:
        """Whether its events share one process."""
        return bool(self.members.get("worker"))


class Catalog:
    """The functions of one host. It outlives a zygote: what it learned is not tried again.

    `apart` says of a function (or `preload:<module>`) what its import leaves running.
    """

    def __init__(self, table: FunctionTable) -> None:
        self._table = table
        self.descriptions: dict[str, Description] = {}
        self.apart: dict[str, str] = {}

    @property
    def left_out(self) -> list[str]:
        """What a zygote must not import."""
        failed = [name for name, each in self.descriptions.items() if each.failed]
        return [*self.apart, *failed]

    def describe(self, members: Mapping[str, Any]) -> None:
        """Take a function's description, or the error of its import."""
        name, error = members["name"], members["error"]
        failed = None
        if error is not None:
            failed = Failed(
                reason="Failure",
                type=error["type"],
                title=error["title"],
                detail=error["detail"],
            )
            log.error("%s: %s", error["title"], error["detail"])
        self.descriptions[name] = Description(name, members, failed)

    def set_apart(self, what: str, left: str) -> None:
        """Note that an import leaves something that must not be forked."""
        self.apart[what] = left
        if what.startswith("preload:"):
            log.warning(
                "%s: its import leaves %s running, which cannot be forked: it is not preloaded",
                what,
                left,
            )
        else:
            log.warning(
                "function %s: its import leaves %s running, which cannot be forked: each of its "
                "children is a new process that imports it again",
                what,
                left,
            )

    def blame(self, what: str, how: str) -> None:
        """Note that the import of one function ended the zygote, and leave it out from now on."""
        if what.startswith("preload:"):
            self.apart[what] = "nothing"
            log.error("%s: the process that imported it %s: it is not preloaded", what, how)
            return
        handler = self._table.by_name[what].handler
        path = list(self._table.path)
        self.describe(
            {
                "name": what,
                "error": {
                    "type": "urn:agentworkflow:problem:handler-import",
                    "title": f"The handler {handler} of function {what} cannot be used",
                    "detail": f"the process that imported it {how}\nsearched: {', '.join(path)}",
                    "traceback": [],
                    "path": path,
                },
            }
        )
