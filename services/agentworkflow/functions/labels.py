"""Standard output of zygote and children: lines that say which attempt of a worker wrote them.

A worker runs many attempts in one process. Each of their lines starts with the job's number
between two control characters; the front turns it into run and step.
"""

import contextvars
import io
import os
import threading

__all__ = ["END", "START", "LabelledOutput", "current_job", "install"]

START, END = "\x1e", "\x1f"
_LONGEST_LINE = 8192

current_job: contextvars.ContextVar[int | None] = contextvars.ContextVar("job", default=None)


class LabelledOutput(io.TextIOWrapper):
    """A text stream that labels whole lines while `current_job` is set."""

    def __init__(self, fd: int) -> None:
        raw = open(fd, "wb", closefd=False)  # noqa: SIM115 - the process's own output
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._parts: dict[int, str] = {}
        self._guard = threading.RLock()

    def write(self, text: str) -> int:
        """Write text; lines of a job wait until they are whole."""
        job = current_job.get()
        if job is None:
            return super().write(text)
        with self._guard:
            *lines, rest = (self._parts.pop(job, "") + text).split("\n")
            if len(rest) > _LONGEST_LINE:
                lines.append(rest)
                rest = ""
            for line in lines:
                super().write(f"{START}{job}{END}{line}\n")
            if rest:
                self._parts[job] = rest
        return len(text)

    def end_of(self, job: int) -> None:
        """Write what a finished job left without a line's end."""
        with self._guard:
            rest = self._parts.pop(job, "")
            if rest:
                super().write(f"{START}{job}{END}{rest}\n")


def install() -> tuple[LabelledOutput, LabelledOutput]:
    """Return new streams for file descriptors 1 and 2."""
    os.set_inheritable(1, True)
    os.set_inheritable(2, True)
    return LabelledOutput(1), LabelledOutput(2)
