"""Code that runs too long is stopped, in any thread, and what comes after it is left alone."""

import contextlib
import threading
import time

import pytest

from hflm.models.limits import Stopped, limited


def endless() -> None:
    while True:
        with contextlib.suppress(Exception):
            sum(range(1000))


def test_it_is_stopped_and_the_next_is_not() -> None:
    for _ in range(3):
        began = time.perf_counter()
        with pytest.raises(Stopped), limited(0.1, memory=1 << 40):
            endless()
        assert 0.1 <= time.perf_counter() - began < 2
        with limited(0.1, memory=1 << 40):
            pass
        time.sleep(0.15)  # the limit of the block that has ended hits nothing


def test_in_another_thread() -> None:
    caught: list[bool] = []

    def work() -> None:
        try:
            with limited(0.1, memory=1 << 40):
                endless()
        except Stopped:
            caught.append(True)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert caught == [True] * 3


def test_memory() -> None:
    kept: list[bytes] = []
    with pytest.raises(Stopped), limited(20, memory=1 << 25):
        while True:
            kept.append(b"x" * (1 << 20))
            time.sleep(0.002)
    assert len(kept) < 1000
