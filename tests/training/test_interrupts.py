from __future__ import annotations

import signal
import threading

import pytest

from dseinvert.training.interrupts import stop_wishes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish(number):
    with stop_wishes() as wish:
        assert wish.signal is None
        signal.raise_signal(number)
        assert wish.signal == number


def test_the_second_signal_acts_at_once():
    with pytest.raises(KeyboardInterrupt), stop_wishes():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with stop_wishes():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_can_train_too():
    seen = []

    def work():
        with stop_wishes() as wish:
            seen.append(wish.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
