"""Ctrl-C and SIGTERM become an exception, so that every `with` block ends what it started.

While something is half started or half ended the exception waits: an engine whose start was cut short would have no
process number yet by which it could be stopped.
"""

import contextlib
import signal
from collections.abc import Iterator

_depth = 0
_waiting: int | None = None


def _end(number: int, _) -> None:
    global _waiting
    if _depth:
        _waiting = number
    else:
        raise SystemExit(128 + number)


def install() -> None:
    """From now on both signals raise `SystemExit` with the exit code that a shell gives them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A block that is finished before a signal counts."""
    global _depth, _waiting
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _waiting and not _depth:
            number, _waiting = _waiting, None
            raise SystemExit(128 + number)
