"""What jobs that run at once share out among them: turns of the network, room in memory."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

from loopsr.errors import Cancelled

_WAIT = 0.2  # seconds between two looks whether the run was stopped


@final
class Share:
    """An amount that is shared out, the lowest number first; a lone one may take more than all."""

    def __init__(self, total: int, *, stopped: Callable[[], bool]) -> None:
        self._total = total
        self._stopped = stopped
        self._used = 0
        self._waiting: list[int] = []
        self._change = threading.Condition()

    @contextmanager
    def take(self, number: int, amount: int = 1) -> Iterator[None]:
        """Hold ``amount`` for the job ``number``; waits for it. Raises ``Cancelled``."""
        with self._change:
            heapq.heappush(self._waiting, number)
            while self._waiting[0] != number or not self._fits(amount):
                if self._stopped():
                    self._waiting.remove(number)
                    heapq.heapify(self._waiting)
                    raise Cancelled("stopped before its turn; nothing was written")
                self._change.wait(_WAIT)
            heapq.heappop(self._waiting)
            self._used += amount
            self._change.notify_all()  # there may be room for the next one too
        try:
            yield
        finally:
            with self._change:
                self._used -= amount
                self._change.notify_all()

    def _fits(self, amount: int) -> bool:
        return self._used == 0 or self._used + amount <= self._total
