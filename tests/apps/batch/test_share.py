"""Turns and room: never more than there is, the lowest number first, none after a stop."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from loopsr.apps.batch.share import Share
from loopsr.errors import Cancelled


def most_at_once(share: Share, amounts: list[int]) -> int:
    """The largest sum that was held at once by many threads."""
    guard, held, most = threading.Lock(), 0, 0

    def hold(number: int) -> None:
        nonlocal held, most
        with share.take(number, amounts[number]):
            with guard:
                held += amounts[number]
                most = max(most, held)
            time.sleep(0.001)
            with guard:
                held -= amounts[number]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(len(amounts))))
    assert held == 0
    return most


def test_no_more_is_held_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    amounts = [chance.randint(1, 60) for _ in range(200)]
    assert 60 < most_at_once(Share(100, stopped=lambda: False), amounts) <= 100
    assert most_at_once(Share(1, stopped=lambda: False), [1] * 50) == 1
    monkeypatch.setattr(Share, "_fits", lambda self, amount: True)
    assert most_at_once(Share(100, stopped=lambda: False), amounts) > 100


def test_what_is_larger_than_all_goes_alone() -> None:
    amounts = [10, 10, 500, 10, 10]
    assert most_at_once(Share(100, stopped=lambda: False), amounts) == 500


def test_the_lowest_number_is_next() -> None:
    share = Share(1, stopped=lambda: False)
    order: list[int] = []

    def hold(number: int) -> None:
        with share.take(number):
            order.append(number)

    with share.take(0):
        threads = []
        for number in (3, 1, 2):
            threads.append(threading.Thread(target=hold, args=(number,)))
            threads[-1].start()
            while len(share._waiting) < len(threads):
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == [1, 2, 3]


def test_a_stop_ends_the_waiting() -> None:
    stop = threading.Event()
    share = Share(1, stopped=stop.is_set)
    with ThreadPoolExecutor(1) as pool, share.take(0):
        waiting = pool.submit(lambda: share.take(1).__enter__())
        stop.set()
        with pytest.raises(Cancelled):
            waiting.result(10)
    with share.take(2):
        pass  # the one that gave up is in nobody's way
