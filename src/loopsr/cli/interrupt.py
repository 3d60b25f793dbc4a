"""Ctrl-C that works while native code runs.

Python runs signal handlers in the main thread only, between two bytecodes: while libvips or ONNX
Runtime hold that thread, Ctrl-C would wait for the end of the picture. So the work runs in a second
thread, the main thread waits, and a signal becomes a request that the work sees at its next
progress report; the work then cleans up after itself.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_WAIT = 0.1  # seconds between two looks: how long Ctrl-C may seem to do nothing


def run_interruptible(work: Callable[[threading.Event], T]) -> T:
    """Run ``work(stop)`` in a thread and return its result or raise its error.

    On Ctrl-C or SIGTERM ``stop`` is set, the work is waited for, and ``KeyboardInterrupt`` is
    raised once it has ended, whatever came of it: then nothing is left half-written.
    """
    stop = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work(stop))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, name="loopsr-work")
    with _signals_set(stop):
        thread.start()
        while thread.is_alive():
            thread.join(_WAIT)
    if stop.is_set():
        raise KeyboardInterrupt
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _signals_set(stop: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets only the main thread have handlers
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
