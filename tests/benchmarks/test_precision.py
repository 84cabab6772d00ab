"""`--precision`: what is computed with, in keys as in those of older records, and in records."""

import argparse
from pathlib import Path

import pytest
import torch

from benchmarks.devices import computing, precision_on
from benchmarks.flags.trunk import add_precision_flags, precision_from
from benchmarks.results import Checkpoint
from benchmarks.trunks import Trunk
from slurm.errors import UserError

CPU = torch.device("cpu")


def trunk(precision: str = "") -> Trunk:
    checkpoint = Checkpoint("a", "resnet18", "0" * 32)
    return Trunk(Path("zoo"), "a", checkpoint, mean=(0.5,), std=(0.5,), precision=precision)


def asked(*words: str, device: str = "auto") -> str:
    parser = argparse.ArgumentParser()
    add_precision_flags(parser)
    args = parser.parse_args(words)
    args.device = device
    return precision_from(args)


def test_keys_are_those_of_records_without_a_choice() -> None:
    """The last part said whether the forward pass was of half precision."""
    before = ("0" * 32, "resnet18", False, (0.5,), (0.5,))
    assert trunk().inputs() == (*before, False)
    assert trunk("tf32").inputs() == (*before, False)
    assert trunk("amp").inputs() == (*before, True)
    assert trunk("fp32").inputs() == (*before, "fp32")


def test_flags() -> None:
    assert asked() == asked(device="cpu") == ""
    assert (
        asked("--amp")
        == asked("--precision", "amp")
        == asked("--amp", "--precision", "amp")
        == "amp"
    )
    assert asked("--precision", "fp32") == "fp32"
    assert asked("--precision", "fp32", device="cpu") == ""  # which it does anyway
    with pytest.raises(UserError, match="both given"):
        asked("--amp", "--precision", "fp32")
    with pytest.raises(UserError, match="tf32 is of GPUs"):
        asked("--precision", "tf32", device="cpu")


def test_a_device_has_a_precision_of_its_own() -> None:
    assert precision_on(CPU, "") == "fp32"
    assert precision_on(torch.device("cuda", 0), "") == "tf32"
    assert precision_on(CPU, "amp") == "amp"
    assert precision_on(torch.device("cuda", 0), "fp32") == "fp32"
    with pytest.raises(UserError, match="runs on the CPU"):
        precision_on(CPU, "tf32")


def test_within_a_block_alone_it_is_computed_so() -> None:
    before = torch.backends.cudnn.allow_tf32
    left, right = torch.ones(2, 2), torch.ones(2, 2)
    with computing(CPU, "fp32"):
        assert not torch.backends.cudnn.allow_tf32
        assert (left @ right).dtype == torch.float32
    with computing(CPU, "amp"):
        assert (left @ right).dtype == torch.bfloat16
    assert torch.backends.cudnn.allow_tf32 == before
