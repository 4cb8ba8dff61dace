"""A signature that no JSON can fill."""

import threading


def locks(lock: threading.Lock) -> None:
    with lock:
        pass
