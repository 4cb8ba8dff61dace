"""Decides what an unreliable channel does to an event: drop, duplicate, reorder. Pure, by a seed.

An in-memory channel of a cluster may do all three, and a workflow that only ever ran on a
reliable broker has never shown that it stands that.
"""

import random
from dataclasses import dataclass

from agentworkflow.events.cloudevent import CloudEvent


@dataclass(frozen=True, slots=True)
class Lossy:
    """How unreliable; the shares are between 0 and 1.

    Attributes:
        seed: the same seed treats the same events (by source and id) alike.
        drop: share of deliveries that never happen.
        duplicate: share of deliveries that happen twice.
        reorder: share of deliveries that are held back, so that later events overtake them.
        hold: the longest time for which one is held back, in seconds.
    """

    seed: int = 0
    drop: float = 0.05
    duplicate: float = 0.15
    reorder: float = 0.3
    hold: float = 2.0


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one delivery: one hold, in seconds, for each copy; no copy is a loss."""

    holds: tuple[float, ...]


def plan_fate(lossy: Lossy, group: str, event: CloudEvent) -> Fate:
    """Draw the fate of one event at one Trigger."""
    # Not for secrets: the point is that the same seed gives the same accidents.
    draw = random.Random(f"{lossy.seed}|{group}|{event.source}|{event.id}")  # noqa: S311
    if draw.random() < lossy.drop:
        return Fate(())
    copies = 2 if draw.random() < lossy.duplicate else 1
    return Fate(
        tuple(
            draw.uniform(0, lossy.hold) if draw.random() < lossy.reorder else 0.0
            for _ in range(copies)
        )
    )
