"""Goals, and how far they are reached."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Goal:
    text: str
    measured: str
    # 1 or more: the goal is reached.
    reached: float


def at_most(text, limit, measured, unit="x"):
    """The goal that something is at most the limit. What was measured may be noise around 0."""
    return Goal(f"{text}: at most {limit} {unit}", f"{measured:.3f} {unit}", limit / max(measured, limit / 100))


def at_most_a_part(text, part, measured):
    """The goal that something is at most 1/part of a whole that is `measured` times as large."""
    return Goal(f"{text}: at most 1/{part}", f"1/{measured:.1f}", measured / part)
