"""Signals as questions, with real signals and real processes."""

import os
import signal

import pytest

from slurm.stop import polite_stop, received, stop_requested


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_is_a_request_inside_the_block_only(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with polite_stop():
        assert not stop_requested()
        os.kill(os.getpid(), number)
        assert stop_requested()
        assert received() == (number,)
    assert signal.getsignal(number) is before
    with polite_stop():
        assert not stop_requested()


def test_a_request_to_an_outer_block_stands_in_the_inner_one() -> None:
    with polite_stop():
        os.kill(os.getpid(), signal.SIGUSR2)
        with polite_stop():
            assert stop_requested()
        assert stop_requested()


def test_forked_children_end_on_sigterm_and_live_through_sigusr2() -> None:
    with polite_stop():
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signal.SIGUSR2)
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM
        assert not stop_requested()
