from __future__ import annotations

import signal
import threading

import pytest

from dseinvert.errors import ExitCode
from dseinvert.stop import stoppable


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_the_first_signal_is_a_wish(number, code):
    with stoppable() as stop:
        assert stop.code is None
        signal.raise_signal(number)
        assert stop.code == code


@pytest.fixture
def interruptible():
    """SIGINT as in a terminal, also where the suite runs in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_second_signal_acts_at_once():
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with stoppable():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_can_train_too():
    seen = []

    def work():
        with stoppable() as stop:
            seen.append(stop.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
