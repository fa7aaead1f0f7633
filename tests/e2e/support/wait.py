"""Deadlines. Tests wait for events, never for time to pass."""

import time

# Long enough for a loaded two-core machine under a sanitizer; only a failing test waits this long.
DEADLINE = 60.0
POLL = 0.01


def until(condition, what, deadline=DEADLINE):
    """Returns the first true value of `condition()`. AssertionError with `what` after the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:.0f} s: {what() if callable(what) else what}")
        time.sleep(POLL)
