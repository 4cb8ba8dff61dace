"""What a run has in its shard's due set: the names of calls, timers and publications.

A name says everything that is needed to act on it, so that any dispatcher may take it.
"""

from dataclasses import dataclass

from agentworkflow.runs.slots import Slot


def call_of(run: str, slot: Slot, attempt: int) -> str:
    """The call of an attempt."""
    return f"call|{run}|{_slot(slot)}|{attempt}"


def attempt_timer_of(run: str, slot: Slot, attempt: int) -> str:
    """The moment an attempt is given up."""
    return f"timer|{run}|attempt|{_slot(slot)}|{attempt}"


def deadline_timer_of(run: str) -> str:
    """The moment a run is given up."""
    return f"timer|{run}|deadline"


def wait_timer_of(run: str, step: str) -> str:
    """The moment a waiting step goes on."""
    return f"timer|{run}|wait|{step}"


def start_of(run: str) -> str:
    """The turn of a run in its session's queue."""
    return f"start|{run}"


def publication_of(run: str, entry: int) -> str:
    """The `run.*` event that is made from a log entry."""
    return f"pub|{run}|{entry}"


def webhook_of(run: str) -> str:
    """The delivery of a run's result."""
    return f"hook|{run}"


def user_event_of(publication: str) -> str:
    """The publication of an event that the API took."""
    return f"event|{publication}"


@dataclass(frozen=True, slots=True)
class DueEntry:
    """A due member, read.

    Attributes:
        kind: `call`, `attempt`, `deadline`, `wait`, `start`, `pub`, `hook`, `purge` or `event`.
        run: the run, or the publication for `event`.
        slot: for calls, attempts and waits.
        number: the attempt, or the log entry of a publication.
    """

    kind: str
    run: str
    slot: Slot | None = None
    number: int = 0


def parse_due(member: str) -> DueEntry:
    """Read a due member.

    Raises:
        ValueError: it is none of ours.
    """
    kind, run, *rest = member.split("|")
    match kind, rest:
        case "call", [step, item, attempt]:
            return DueEntry("call", run, _parse_slot(step, item), int(attempt))
        case "timer", ["attempt", step, item, attempt]:
            return DueEntry("attempt", run, _parse_slot(step, item), int(attempt))
        case "timer", ["deadline"]:
            return DueEntry("deadline", run)
        case "timer", ["wait", step]:
            return DueEntry("wait", run, Slot(step))
        case "pub", [entry]:
            return DueEntry("pub", run, number=int(entry))
        case (("start" | "hook" | "purge" | "event"), []):
            return DueEntry(kind, run)
    message = f"the due member {member!r} has no known form"
    raise ValueError(message)


def _slot(slot: Slot) -> str:
    return f"{slot.step}|{'' if slot.item is None else slot.item}"


def _parse_slot(step: str, item: str) -> Slot:
    return Slot(step, int(item) if item else None)
