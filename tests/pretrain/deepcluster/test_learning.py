"""What it is all for: after a few epochs on real digits, held-out digits are easier to tell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tiny import TINY, tiny_item

from benchmarks.datasets import imagenet
from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.registry import load_backbone

RECIPE = replace(TINY, epochs=6, clusters=40, pca=24, batch_size=32, learning_rate=0.1)


def write_some_digits(folder: Path) -> None:
    """Scikit-learn's digits, black on white, 360 to learn from and 300 to tell apart."""
    digits = load_digits()
    rows = np.random.default_rng(0).permutation(len(digits.target))
    for number, row in enumerate(rows[:660].tolist()):
        split = "train" if number < 360 else "val"
        path = folder / split / f"digit{digits.target[row]}" / f"{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = (255 - digits.images[row] * 255 / 16).astype(np.uint8)
        Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC).save(path)


def pooled(zoo: Path, ckpt: str, split: ImageSplit) -> NDArray[np.float32]:
    """Average-pooled feature5, (N, C)."""
    backbone, card = load_backbone(zoo, ckpt)
    transform = build_transform(RECIPE.extract, card.mean, card.std)
    rows = np.arange(len(split.paths))
    batches = load_batches(split, transform, rows, batch_size=100, seed=0, epoch=0)
    with torch.inference_mode():
        maps = [backbone(images)["feature5"] for images, _ in batches]
    return torch.cat(maps).mean((2, 3)).numpy()


def test_features_of_held_out_digits_become_linearly_separable(tmp_path: Path) -> None:
    write_some_digits(tmp_path / "data")
    item = tiny_item(tmp_path / "zoo", tmp_path / "data", RECIPE)
    item.run()
    splits = imagenet.load(tmp_path / "data").splits
    scores = {}
    for ckpt in ("tiny", "random:sobel_test_resnet"):
        train, val = (pooled(item.zoo, ckpt, splits[split]) for split in ("train", "val"))
        probe = LogisticRegression(C=0.01, max_iter=300).fit(train, splits["train"].labels)
        scores[ckpt] = 100 * probe.score(val, splits["val"].labels)
    print(scores)
    assert scores["tiny"] > scores["random:sobel_test_resnet"] + 20, scores
    assert scores["tiny"] > 75, scores
    history = item.card().pretraining["history"]  # type: ignore[union-attr]
    assert isinstance(history, dict)
    # Labels were seen by no one, yet the clusters have come closer to them.
    assert np.mean(history["nmi_labels"][-2:]) > history["nmi_labels"][0] + 0.02
    assert history["loss"][-1] < history["loss"][0] - 0.3
