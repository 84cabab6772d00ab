"""`python -m benchmarks.knn`: its record against scikit-learn's, and every mistake in one line."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.catalog.records import read_record
from benchmarks.knn.__main__ import main
from benchmarks.knn.record import KnnRecord
from benchmarks.outcomes.files import read_outcomes
from slurm.cli import run_command

SMALL = ("--set", "image.crop=32", "--set", "image.resize=40", "--device", "cpu", "--workers", "0")


def run(zoo: Path, data: Path, *flags: str) -> Path:
    main(["--ckpt", "random:resnet18", "--zoo", str(zoo), "--data", str(data), *SMALL, *flags])
    return max(zoo.glob("results/*/*/*.json"), key=lambda path: path.stat().st_mtime)


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        run_command(main, list(words))
    assert ended.value.code == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("note: ")]
    return line


def test_the_record_holds_scikit_learns_figures(tmp_path: Path, tiny_imagenet: Path) -> None:
    path = run(tmp_path, tiny_imagenet, "--k", "20,3", "--json", str(tmp_path / "out.json"))
    record = read_record(path)
    assert isinstance(record, KnnRecord)
    assert (tmp_path / "out.json").read_bytes() == path.read_bytes()
    assert (record.benchmark, record.protocol, record.variant) == (
        "imagenet_knn",
        "knn_imagenet",
        "custom",
    )
    (folder,) = tmp_path.glob("features/random-resnet18/*")
    train, val = (np.load(folder / f"{split}.npy").astype("float64") for split in ("train", "val"))
    labels, truth = (np.load(folder / f"{split}_labels.npy") for split in ("train", "val"))
    assert record.outcomes is not None
    ranks = read_outcomes(path, record.outcomes, record.data["val"])
    for temperature, figures in record.grid.items():
        heat = float(temperature)
        for k, top1 in figures.items():
            judge = KNeighborsClassifier(
                int(k),
                metric="cosine",
                weights=lambda distances, heat=heat: np.exp(-distances / heat),
                algorithm="brute",
            ).fit(train, labels)
            assert top1 == pytest.approx(100 * judge.score(val, truth))
            if heat == record.temperature:
                assert record.k[k].top1 == top1
                assert 100 * (ranks[f"{k}.rank"] == 0).mean() == pytest.approx(top1)
    assert record.temperature == 0.07
    assert set(record.k) == {"3", "20"}


def test_a_second_run_does_nothing(tmp_path: Path, tiny_imagenet: Path) -> None:
    first = run(tmp_path, tiny_imagenet, "--k", "3")
    before = first.stat().st_mtime_ns
    assert run(tmp_path, tiny_imagenet, "--k", "3") == first
    assert first.stat().st_mtime_ns == before


def test_mistakes_are_one_line(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("--ckpt", "random:resnet18", "--zoo", str(tmp_path), "--data", str(tiny_imagenet))
    line = error_of(capsys, *base)
    assert line == (
        f"error: k = 200 is more than the 48 training images in {tiny_imagenet}: choose smaller "
        "ones, by --k 5,10 (in a suite --set ks=5,10)"
    )
    assert "is not a whole number from 1" in error_of(capsys, *base, "--k", "ten")
    assert "names no number" in error_of(capsys, *base, "--k", ",")
    assert "temperature must be above 0" in error_of(capsys, *base, "--set", "temperature=0.0")
    both = error_of(capsys, *base, "--k", "3", "--set", "ks=5")
    assert both == "error: --k and --set ks=5 are both given: leave one out"
    assert "unknown k-NN protocol" in error_of(capsys, *base, "--protocol", "voc07_svm")
    assert not (tmp_path / "features").exists()


def test_records_read_back_and_say_nothing_more(tmp_path: Path, tiny_imagenet: Path) -> None:
    content = msgspec.json.decode(run(tmp_path, tiny_imagenet, "--k", "3").read_bytes())
    assert content["k"]["3"].keys() == {"top1", "top5"}
    assert content["settings"]["dtype"] == "fp16"
    assert content["precision"] == "fp32"
