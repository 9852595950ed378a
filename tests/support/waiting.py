"""One way to wait for a condition."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    what: str,
    timeout: float = 30,
    *,
    retry_on: tuple[type[Exception], ...] = (AssertionError, OSError),
    interval: float = 0.05,
) -> T:
    """Calls `condition` until it returns a true value, and returns that value.

    Between two calls it sleeps for as long as a call takes (at least `interval`, at most 1 s), so that a condition that
    runs a program leaves the machine to what it waits for. An exception in `retry_on` counts as "not yet". After
    `timeout` seconds the test fails with `what` and the last value or exception.
    """
    deadline = time.monotonic() + timeout
    while True:
        cause: Exception | None = None
        begun = time.monotonic()
        try:
            value = condition()
            if value:
                return value
            last = f"last value: {value!r}"
        except retry_on as error:
            cause = error
            last = f"last error: {error!r}"
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what}; {last}") from cause
        time.sleep(max(interval, min(now - begun, 1)))
