"""What became of the spans of a load, beside what a quota allows."""

from dataclasses import dataclass


@dataclass
class Ledger:
    """Of a load on one bucket with a rate in spans per second. `burst` is what it holds when the load begins."""

    name: str
    rate: int
    burst: int = 0
    seconds: float = 0
    admitted: int = 0
    refused: int = 0
    # What the backend did not take.
    refunded: int = 0
    # Requests that got another answer, such as those of a replica that was killed.
    lost: int = 0
    # By how many spans the load was ever behind: on a busy machine it comes in bursts, which are refused more often.
    late: float = 0

    @property
    def allowed(self) -> float:
        return self.burst + self.rate * self.seconds

    def reaches(self, spans: float) -> bool:
        """Whether so much was admitted, if the load came evenly."""
        return self.admitted >= spans or self.late > self.rate / 10

    def __str__(self) -> str:
        share = self.admitted / self.allowed
        more = f", refunded {self.refunded}" if self.refunded else ""
        return (
            f"{self.name}: {self.seconds:.2f} s, allowed {self.allowed:.0f}, admitted {self.admitted} ({share:.3f}), "
            f"refused {self.refused}, lost {self.lost}{more}"
        )
