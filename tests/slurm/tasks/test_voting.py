"""Votes: alone at once, of several processes together and seldom."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist

from slurm.tasks import voting
from slurm.tasks.voting import Votes

CPU = torch.device("cpu")


def test_alone_there_is_no_vote() -> None:
    votes = Votes(CPU)
    assert [votes.agree(wish) for wish in (False, True, False)] == [False, True, False]


class Others:
    """What the other processes say at each vote: whether they wish it, and after how many steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, says: list[tuple[bool, int]]) -> None:
        self.says, self.votes = says, 0
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "all_reduce", self.reduce)

    def reduce(self, mine: torch.Tensor, op: object) -> None:
        assert op == dist.ReduceOp.MAX
        wish, steps = self.says[self.votes]
        self.votes += 1
        mine.copy_(torch.maximum(mine, torch.tensor([int(wish), -steps])))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [0.0]
    monkeypatch.setattr(voting.time, "monotonic", lambda: now[0])
    return iter([now])


def test_the_slowest_process_says_when_the_next_vote_is(
    monkeypatch: pytest.MonkeyPatch, clock: Iterator[list[float]]
) -> None:
    (now,) = clock
    others = Others(monkeypatch, [(False, 3), (True, 100), (False, 100)])
    votes = Votes(CPU)
    found = []
    for _ in range(8):
        now[0] += 0.25
        found.append((votes.agree(False), others.votes))
    # After the first step, three later, and then after the 8 that we take in two seconds.
    assert found[:4] == [(False, 1), (False, 1), (False, 1), (True, 2)]
    assert found[4:] == [(False, 2)] * 4
    assert not votes.agree(True)  # our own wish waits for the vote as well
    assert not votes.held
    assert [votes.agree(True) for _ in range(3)] == [False, False, True]
    assert others.votes == 3


def test_the_largest_wish_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    Others(monkeypatch, [(2, 1), (0, 1), (1, 1)])  # type: ignore[list-item]
    votes = Votes(CPU)
    assert [votes.agree(wish, now=True) for wish in (1, 2, 0)] == [2, 2, 1]
    assert votes.held


def test_a_vote_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    others = Others(monkeypatch, [(False, 50), (False, 50)])
    votes = Votes(CPU)
    assert not votes.agree(False)
    assert votes.agree(True, now=True)
    assert others.votes == 2
