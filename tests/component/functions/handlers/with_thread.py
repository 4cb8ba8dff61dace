"""Its import leaves a thread, so no process that has it may be forked."""

import os
import threading
import time
from typing import Any

_thread = threading.Thread(target=time.sleep, args=(3600,), daemon=True)
_thread.start()


def alive() -> dict[str, Any]:
    return {"thread": _thread.is_alive(), "pid": os.getpid()}


async def alive_async() -> dict[str, Any]:
    return alive()
