"""Makes a workflow's own modules importable in this process, as its function host would."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def on_path(path: Sequence[str]) -> Iterator[None]:
    """Put folders at the front of the import path, and take them away again."""
    added = [folder for folder in path if folder not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)
