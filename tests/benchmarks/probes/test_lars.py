"""LARS, the cosine schedule and evaluation every few epochs, against plain loops of their own."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks import results
from benchmarks.catalog.imagenet_avgpool import (
    IMAGENET_AVGPOOL,
    IMAGENET_AVGPOOL_COSINE,
    IMAGENET_AVGPOOL_LARS,
)
from benchmarks.catalog.records import read_record
from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.datasets import imagenet
from benchmarks.images.decoding import open_image
from benchmarks.images.transforms import build_transform
from benchmarks.probes import frozen, pieces, stream, training
from benchmarks.probes.heads import Heads
from benchmarks.probes.item import Probe
from benchmarks.probes.lars import Lars
from benchmarks.probes.optimization import evaluated_epochs, learning_rate, new_optimizer
from benchmarks.protocols import LinearProtocol
from benchmarks.registry import load_backbone
from slurm.errors import UserError
from slurm.stop import Stopped
from tests import processes
from tests.benchmarks.probes.lars_ranks import ATTENTIVE, PLAIN, PROTOCOL, SHIFT, make_item


def plain_lars(
    weights: list[float],
    gradients: list[list[float]],
    rates: list[float],
    decay: float,
    eta: float = 0.001,
    epsilon: float = 1e-8,
    momentum: float = 0.9,
) -> list[float]:
    """One parameter in plain Python: the values after all steps."""
    values, buffer = list(weights), None
    for slope, rate in zip(gradients, rates):
        w = math.sqrt(sum(value * value for value in values))
        g = math.sqrt(sum(value * value for value in slope))
        local = eta * w / (g + decay * w + epsilon) if w > 0 and g > 0 else 1.0
        step = [(d + decay * value) * local * rate for d, value in zip(slope, values)]
        if buffer is None:
            buffer = step
        else:
            buffer = [momentum * old + new for old, new in zip(buffer, step)]
        values = [value - move for value, move in zip(values, buffer)]
    return values


numbers = st.floats(-3, 3).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
vectors = st.lists(numbers, min_size=4, max_size=4)


@settings(max_examples=50, deadline=None)
@given(
    weights=vectors | st.just([0.0] * 4),
    gradients=st.lists(vectors | st.just([0.0] * 4), min_size=1, max_size=6),
    decay=st.sampled_from([0.0, 1e-4, 0.1]),
    data=st.data(),
)
def test_lars_is_the_plain_loop(
    weights: list[float], gradients: list[list[float]], decay: float, data: st.DataObject
) -> None:
    rates = data.draw(st.lists(st.floats(0, 2), min_size=6, max_size=6))
    parameter = nn.Parameter(torch.tensor(weights, dtype=torch.float64).view(2, 2))
    groups = [{"params": [parameter], "weight_decay": decay}]
    optimizer = Lars(groups, lr=9.0, momentum=0.9, eta=0.001, epsilon=1e-8)
    for slope, rate in zip(gradients, rates):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor(slope, dtype=torch.float64).view(2, 2)
        optimizer.step()
    expected = plain_lars(weights, gradients, rates, decay)
    torch.testing.assert_close(
        parameter.detach().flatten(), torch.tensor(expected, dtype=torch.float64)
    )


def test_a_bias_of_zeros_takes_the_whole_rate_and_then_a_scaled_one() -> None:
    bias = nn.Parameter(torch.zeros(2))
    optimizer = Lars(
        [{"params": [bias], "weight_decay": 0.0}], lr=1.6, momentum=0.0, eta=0.001, epsilon=1e-8
    )
    bias.grad = torch.tensor([3.0, -4.0])
    optimizer.step()
    torch.testing.assert_close(bias.detach(), torch.tensor([-4.8, 6.4]))
    optimizer.step()  # |w| = 8, |g| = 5: a local rate of 0.0016
    expected = torch.tensor([-4.8 - 3 * 0.0016 * 1.6, 6.4 + 4 * 0.0016 * 1.6])
    torch.testing.assert_close(bias.detach(), expected)


def test_lars_continues_from_its_state() -> None:
    draws = torch.Generator().manual_seed(0)
    slopes = [torch.randn(3, 2, generator=draws) for _ in range(6)]
    whole, parts = (nn.Parameter(torch.ones(3, 2)) for _ in range(2))

    def new(parameter: nn.Parameter) -> Lars:
        groups = [{"params": [parameter], "weight_decay": 0.01}]
        return Lars(groups, lr=1.0, momentum=0.9, eta=0.1, epsilon=1e-8)

    first, second = new(whole), new(parts)
    for number, slope in enumerate(slopes):
        if number == 3:
            state = second.state_dict()
            second = new(parts)
            second.load_state_dict(state)
        for parameter, optimizer in ((whole, first), (parts, second)):
            parameter.grad = slope.clone()
            optimizer.step()
    assert torch.equal(whole, parts)


def test_the_protocols_are_those_of_the_zoo_s_configurations() -> None:
    """MMSelfSup 0.11.0: lars_coslr-90e and sgd_coslr-100e, eight GPUs of 512 and of 32 images."""
    lars, cosine = IMAGENET_AVGPOOL_LARS, IMAGENET_AVGPOOL_COSINE
    assert lars.name == "resnet50_linear-8xb512-coslr-90e_in1k"
    assert (lars.optimizer, lars.learning_rate, lars.momentum) == ("lars", 1.6, 0.9)
    assert (lars.weight_decay, lars.lars_eta, lars.lars_epsilon) == (0.0, 0.001, 1e-8)
    assert (lars.epochs, lars.batch_size, lars.schedule) == (90, 8 * 512, "cosine")
    assert cosine.name == "resnet50_linear-8xb32-coslr-100e_in1k"
    assert (cosine.optimizer, cosine.learning_rate, cosine.momentum) == ("sgd", 0.3, 0.9)
    assert (cosine.weight_decay, cosine.nesterov) == (1e-6, False)
    assert (cosine.epochs, cosine.batch_size, cosine.schedule) == (100, 8 * 32, "cosine")
    for protocol in (lars, cosine):
        assert protocol.evaluate_every == 10
        assert protocol.variant == "mmselfsup"
        assert protocol.benchmark == "imagenet_avgpool"
        for field in ("train", "test", "taps", "init_std", "batch_norm"):
            assert getattr(protocol, field) == getattr(IMAGENET_AVGPOOL, field)


def test_the_cosine_falls_by_epoch_to_0() -> None:
    rates = [learning_rate(IMAGENET_AVGPOOL_LARS, epoch) for epoch in range(91)]
    assert rates[0] == 1.6
    assert rates[45] == pytest.approx(0.8)
    assert rates[90] == pytest.approx(0.0, abs=1e-15)
    assert rates[30] == pytest.approx(0.8 * (1 + 0.5))  # cos(pi / 3)
    assert rates == sorted(rates, reverse=True)


def test_heads_are_evaluated_every_so_many_epochs_and_at_the_end() -> None:
    assert evaluated_epochs(IMAGENET_AVGPOOL_LARS) == tuple(range(10, 91, 10))
    assert evaluated_epochs(IMAGENET_AVGPOOL) == tuple(range(1, 101))
    assert evaluated_epochs(replace(IMAGENET_AVGPOOL_LARS, epochs=25)) == (10, 20, 25)
    assert evaluated_epochs(replace(IMAGENET_AVGPOOL_LARS, epochs=3)) == (3,)


def test_weights_and_biases_alike_are_scaled() -> None:
    sample = {"avgpool": torch.ones(2, 8)}
    heads = Heads({"avgpool": 8}, sample, 3, IMAGENET_AVGPOOL_LARS, seed=0)
    optimizer = new_optimizer(heads, IMAGENET_AVGPOOL_LARS)
    assert isinstance(optimizer, Lars)
    assert (optimizer.eta, optimizer.epsilon) == (0.001, 1e-8)
    (group,) = optimizer.param_groups
    assert len(group["params"]) == 2
    assert group["weight_decay"] == 0.0
    with pytest.raises(UserError, match="LARS needs"):
        new_optimizer(heads, replace(IMAGENET_AVGPOOL_LARS, lars_eta=None))


def read(item: Probe) -> results.ProbeRecord:
    record = read_record(item.result)
    assert isinstance(record, results.ProbeRecord)
    return record


def reference_top1(data: Path, protocol: LinearProtocol) -> list[float]:
    """The AvgPool head trained on stored features, its optimizer a plain loop over parameters."""
    backbone, _ = load_backbone(Path("unused"), "random:resnet18", 3)
    transform = build_transform(PLAIN, IMAGENET_MEAN, IMAGENET_STD)
    features, labels = {}, {}
    for split, images in imagenet.load(data).splits.items():
        pixels = torch.stack([transform(open_image(images.root / path)) for path in images.paths])
        with torch.no_grad():
            features[split] = list(backbone(pixels).values())[-1].mean((2, 3))
        labels[split] = torch.from_numpy(images.labels.astype(np.int64))
    linear = nn.Linear(features["train"].shape[1], 3)
    draws = torch.Generator().manual_seed(3)
    linear.weight.data.normal_(0, 0.01, generator=draws)
    linear.bias.data.zero_()
    buffers = [torch.zeros_like(values) for values in linear.parameters()]
    found = []
    for epoch in range(protocol.epochs):
        rate = protocol.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / protocol.epochs))
        order = np.random.default_rng([3, epoch]).permutation(len(labels["train"]))
        for start in range(0, len(order), protocol.batch_size):
            batch = order[start : start + protocol.batch_size]
            logits = linear(features["train"][batch])
            linear.zero_grad()
            nn.functional.cross_entropy(logits, labels["train"][batch]).backward()
            for values, buffer in zip(linear.parameters(), buffers):
                assert values.grad is not None
                if protocol.optimizer == "lars":  # the rate goes into the buffer
                    w, g = values.data.norm().item(), values.grad.norm().item()
                    local = 0.001 * w / (g + 1e-8) if w else 1.0
                    buffer.mul_(0.9).add_(values.grad * local * rate)
                    values.data -= buffer
                else:  # as torch's SGD: it does not
                    buffer.mul_(0.9).add_(values.grad + protocol.weight_decay * values.data)
                    values.data -= rate * buffer
        correct = (linear(features["val"]).argmax(1) == labels["val"]).double().mean().item()
        found.append(100 * correct)
    return found


@pytest.mark.parametrize("base", [IMAGENET_AVGPOOL_LARS, IMAGENET_AVGPOOL_COSINE])
def test_the_figures_are_those_of_a_plain_training_loop(
    tmp_path: Path, tiny_imagenet: Path, base: LinearProtocol
) -> None:
    protocol = replace(base, name="x", train=PLAIN, test=PLAIN, epochs=7, batch_size=20)
    protocol = replace(protocol, evaluate_every=3)
    item = make_item(tmp_path, tiny_imagenet, protocol)
    item.run()
    record = read(item)
    head = record.heads["avgpool"]
    assert record.evaluated == (3, 6, 7)
    assert record.epochs == 7
    expected = reference_top1(tiny_imagenet, protocol)
    assert head.top1_by_epoch == pytest.approx([expected[e - 1] for e in (3, 6, 7)], abs=1e-9)
    assert head.top1 == head.top1_by_epoch[-1]
    assert head.best_epoch in record.evaluated
    assert head.best_top1 == head.top1_by_epoch[record.evaluated.index(head.best_epoch)]
    assert record.settings["optimizer"] == base.optimizer
    assert record.settings["schedule"] == "cosine"


@pytest.mark.parametrize("stop_at", [2, 8])
def test_a_stopped_run_continues_bit_for_bit(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    protocol = replace(PROTOCOL, train=SHIFT, batch_size=30)
    whole = make_item(tmp_path / "whole", tiny_imagenet, protocol)
    whole.run()
    item = make_item(tmp_path / "parts", tiny_imagenet, protocol)
    votes = iter(range(1000))
    monkeypatch.setattr(stream, "stop_requested", lambda: next(votes) == stop_at)
    with pytest.raises(Stopped, match="saved at epoch"):
        item.run()
    monkeypatch.setattr(stream, "stop_requested", lambda: False)
    item.run()
    assert read(item).heads == read(whole).heads
    assert len(read(whole).heads["avgpool"].top1_by_epoch) == 3  # epochs 2, 4 and 5


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The trained heads of each probe that runs in this process."""
    heads: list[dict[str, torch.Tensor]] = []
    end_epoch = training.ProbeRun.end_epoch

    def keep(run: training.ProbeRun) -> None:
        end_epoch(run)
        if run.done:
            heads.append(run.heads.state_dict())

    monkeypatch.setattr(training.ProbeRun, "end_epoch", keep)
    return heads


def test_two_processes_train_the_heads_of_one(
    tmp_path: Path, tiny_imagenet: Path, kept: list[dict[str, torch.Tensor]]
) -> None:
    """The norm is of the mean gradient of all processes; attentive heads normalise over all."""
    script = Path(__file__).with_name("lars_ranks.py")
    done = processes.run(script, tmp_path, tiny_imagenet, processes=2)
    assert done.returncode == 0, done.stderr
    for protocol in (PROTOCOL, ATTENTIVE):
        make_item(tmp_path / "one", tiny_imagenet, protocol).run()
        two, one = torch.load(tmp_path / f"{protocol.name}.pt", weights_only=True), kept[-1]
        assert two.keys() == one.keys()
        for name, values in one.items():
            torch.testing.assert_close(two[name], values, rtol=1e-4, atol=1e-5)


@given(images=st.integers(1, 5000))
def test_pieces_are_equal_and_small(images: int) -> None:
    number = pieces.number_of_pieces(images)
    assert images % number == 0
    assert images // number <= pieces.MOST_IMAGES


def test_a_batch_of_the_largest_protocol_passes_in_sixteen_pieces() -> None:
    assert pieces.number_of_pieces(IMAGENET_AVGPOOL_LARS.batch_size) == 16
    assert pieces.number_of_pieces(256) == 1


def test_pieces_do_not_change_what_is_trained(
    tmp_path: Path,
    tiny_imagenet: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: list[dict[str, torch.Tensor]],
) -> None:
    """48 images in batches of 20, each of four pieces: 5 5 5 5, 5 5 5 5, 5 3."""
    sizes = []
    features = training.ProbeRun.features

    def measure(run: training.ProbeRun, maps: frozen.Maps) -> frozen.Features:
        sizes.append(len(maps["feature5"]))
        return features(run, maps)

    make_item(tmp_path / "whole", tiny_imagenet).run()
    monkeypatch.setattr(pieces, "MOST_IMAGES", 7)
    monkeypatch.setattr(training.ProbeRun, "features", measure)
    make_item(tmp_path / "pieces", tiny_imagenet).run()
    assert sizes[1:11] == [5] * 9 + [3]  # after the one that measures the widths
    for name, values in kept[0].items():
        torch.testing.assert_close(kept[1][name], values, rtol=1e-4, atol=1e-5)
