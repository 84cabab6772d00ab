"""Generated features and labels with a known difficulty, for the SVM tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.files import LayerData
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.rows import training_rows


@dataclass(frozen=True)
class Recipe:
    rows: int = 150
    test_rows: int = 120
    dimensions: int = 40
    classes: int = 4
    decay: float = 0.5  # of the spectrum: singular values fall as rank ** -decay
    ignore: float = 0.02
    seed: int = 0


def make(recipe: Recipe) -> LayerData:
    """Non-negative features, as after a ReLU, whose leading directions carry the classes."""
    rng = np.random.default_rng([recipe.seed, 1])
    count, width = recipe.rows + recipe.test_rows, min(64, recipe.dimensions)
    hidden = rng.standard_normal((count, width))
    labels = np.zeros((count, recipe.classes), dtype=np.int8)
    for column, share in enumerate(np.linspace(0.08, 0.4, recipe.classes)):
        score = hidden @ rng.standard_normal(width) + 0.5 * rng.standard_normal(count)
        labels[:, column] = score > np.quantile(score, 1 - share)
    spectrum = np.arange(1, width + 1) ** -recipe.decay
    mixed = hidden @ (rng.standard_normal((width, recipe.dimensions)) * spectrum[:, None])
    features = np.maximum(mixed / mixed.std() + 0.3, 0).astype(np.float32)
    labels[rng.random(labels.shape) < recipe.ignore] = -1
    cut = recipe.rows
    return layer_data(features[:cut], features[cut:], labels[:cut], labels[cut:])


def layer_data(
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    train_labels: NDArray[np.int8],
    test_labels: NDArray[np.int8],
) -> LayerData:
    names = tuple(f"class{column}" for column in range(train_labels.shape[1]))
    return LayerData(train, test, train_labels, test_labels, names)


def write(folder: Path, data: LayerData, layers: tuple[int, ...] = (5,)) -> Path:
    """The files that `--features` and `--labels` take."""
    folder.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        np.save(folder / f"voc07_trainval_feat{layer}.npy", data.train)
        np.save(folder / f"voc07_test_feat{layer}.npy", data.test)
    np.save(folder / "train_labels.npy", data.train_labels)
    np.save(folder / "test_labels.npy", data.test_labels)
    return folder


def kernel_of(features: NDArray[Any]) -> Kernel:
    with training_rows(features, 1e-5) as training:
        pass
    return Kernel(training)


def mirrored(lower: NDArray[Any]) -> NDArray[Any]:
    """The symmetric matrix of which this holds the lower half, whatever else it holds."""
    found: NDArray[Any] = np.tril(lower) + np.tril(lower, -1).T
    return found
