"""A child in an interpreter of its own, for a function whose import leaves threads or sockets.

Such an import cannot be shared by forking, so each child does it again. The front keeps one such
child ready ahead of the events.
"""

import os
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from agentworkflow.functions import labels, processes
from agentworkflow.functions.child import leave, limit_memory
from agentworkflow.functions.frames import Channel
from agentworkflow.functions.loading import LoadError, load
from agentworkflow.functions.outcomes import to_frame
from agentworkflow.functions.table import parse_table
from agentworkflow.functions.zygote import prepare_imports, run

__all__ = ["main"]


def main(arguments: Sequence[str]) -> NoReturn:
    """Import one handler and live with it, as the first frame on the channel says."""
    channel = Channel(socket.socket(fileno=int(arguments[0])))
    os.set_inheritable(channel.sock.fileno(), False)
    processes.die_with_parent(int(arguments[1]))
    processes.adopt_orphans()
    sys.stdout, sys.stderr = labels.install()
    frame = channel.receive()
    if frame is None:
        leave(0)
    table = parse_table(frame[0]["table"])
    prepare_imports(table)
    entry = table.by_name[frame[0]["function"]]
    try:
        loaded = load(entry, table.path)
    except LoadError as error:
        channel.send({"op": "broken", **to_frame(error.failed)[0]})
        leave(1)
    limit_memory(entry.memory)
    channel.send({"op": "ready"})
    run(channel, loaded)


if __name__ == "__main__":
    main(sys.argv[1:])
