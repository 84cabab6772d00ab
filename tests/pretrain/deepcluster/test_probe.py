"""The k-NN of a run: scikit-learn's, and a run with it ends in the bits of one without."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from tiny import TINY, tiny_item

from benchmarks.checkpoints.cards import read_card
from benchmarks.datasets import imagenet
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.registry import load_backbone


def by_scikit_learn(bank: object, labels: object, queries: object, truth: object) -> float:
    def weights(distances: np.ndarray) -> np.ndarray:  # of unit vectors: 1 - cosine
        return np.exp((1 - distances) / 0.07)

    judge = KNeighborsClassifier(20, metric="cosine", weights=weights, algorithm="brute")
    return 100 * float(judge.fit(bank, labels).score(queries, truth))


def test_a_run_is_probed_by_epochs_and_stays_the_same(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plain = tiny_item(tmp_path / "plain", data)
    plain.run()
    assert "k-NN" not in capsys.readouterr().err
    probed = tiny_item(tmp_path / "probed", data, probe_every=2)
    probed.run()
    cards = [read_card(item.zoo, "tiny") for item in (plain, probed)]
    assert cards[0].weights == cards[1].weights
    history = cards[1].pretraining["history"]
    assert isinstance(history, dict)
    assert [value is None for value in history["knn_top1"]] == [True, False, False]
    said = re.findall(r"k-NN ([0-9.]+) %", capsys.readouterr().err)
    assert said == [f"{value:.1f}" for value in history["knn_top1"][1:]]
    assert "seconds_probe" not in history
    # The last one is of the registered trunk, in the order that the seed draws.
    backbone, card = load_backbone(probed.zoo, "tiny")
    images = imagenet.load(data).splits["train"]
    transform = build_transform(TINY.extract, card.mean, card.std)
    rows = np.random.default_rng([0, 5]).permutation(90)
    batches = load_batches(images, transform, rows, batch_size=90, seed=0, epoch=0)
    with torch.inference_mode():
        features = next(iter([backbone(pixels)["feature5"] for pixels, _ in batches]))
    points = features.mean((2, 3)).double().numpy()
    labels = images.labels[rows]
    expected = by_scikit_learn(points[18:], labels[18:], points[:18], labels[:18])
    assert history["knn_top1"][2] == pytest.approx(expected)


def test_a_probe_may_begin_later(data: Path, tmp_path: Path) -> None:
    tiny_item(tmp_path, data, replace(TINY, epochs=1), keep=1).run()
    tiny_item(tmp_path, data, replace(TINY, epochs=2), probe_every=1).run()
    history = read_card(tmp_path, "tiny").pretraining["history"]
    assert isinstance(history, dict)
    assert history["knn_top1"][0] is None
    assert 0 <= history["knn_top1"][1] <= 100
