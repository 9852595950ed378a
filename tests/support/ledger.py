"""What became of the spans of a load, beside what a quota allows."""

import time
from collections.abc import Callable
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

    def load(self, seconds: float, rate: float, batch: int, send: Callable[[int], int | None]) -> "Ledger":
        """Sends this many spans a second in batches, and prints what became of them. `send` sends the batch of a
        number, and returns its gRPC status."""
        number, began = 0, time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            if number * batch > rate * elapsed:
                time.sleep(0.001)
                continue
            self.late = max(self.late, rate * elapsed - number * batch - batch)
            status = send(number)
            assert status in (0, 8, 14), status
            self.admitted += batch * (status == 0)
            self.refused += batch * (status == 8)
            self.refunded += batch * (status == 14)
            number += 1
        self.seconds = time.monotonic() - began
        print(self)
        return self

    def __str__(self) -> str:
        share = self.admitted / self.allowed
        more = f", refunded {self.refunded}" if self.refunded else ""
        return (
            f"{self.name}: {self.seconds:.2f} s, allowed {self.allowed:.0f}, admitted {self.admitted} ({share:.3f}), "
            f"refused {self.refused}, lost {self.lost}{more}"
        )
