"""`python -m benchmarks.logreg`: selection, refit and few labels against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks.__main__ import main as suite
from benchmarks.catalog.records import read_record
from benchmarks.datasets.loading import load_dataset
from benchmarks.logreg.__main__ import main
from benchmarks.logreg.draws import draw, labels_per_class, listed_rows, split_off
from benchmarks.logreg.record import LogregRecord
from benchmarks.outcomes.files import read_outcomes
from slurm.cli import run_command
from slurm.errors import UserError
from tests.conftest import write_image_folders

SMALL = ("--set", "image.crop=32", "--set", "image.resize=40", "--device", "cpu", "--workers", "0")
COSTS = (0.0001, 0.01, 1.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_image_folders(tmp_path / "own", train=16, val=6)


def run(zoo: Path, data: Path, *flags: str) -> Path:
    main(["--ckpt", "random:resnet18", "--zoo", str(zoo), "--data", str(data), *SMALL, *flags])
    return max(zoo.glob("results/*/*/*.json"), key=lambda path: path.stat().st_mtime)


def arrays(zoo: Path) -> tuple[np.ndarray, ...]:
    (folder,) = zoo.glob("features/random-resnet18/*")
    names = ("train", "train_labels", "val", "val_labels")
    train, labels, val, truth = (np.load(folder / f"{name}.npy") for name in names)
    return train.astype("float64"), labels, val.astype("float64"), truth


def fitted(features: np.ndarray, labels: np.ndarray, cost: float) -> LogisticRegression:
    return LogisticRegression(C=cost, tol=1e-8, max_iter=10_000).fit(features, labels)


def test_selection_refit_and_report_are_scikit_learns(tmp_path: Path, data: Path) -> None:
    flags = ("--costs", "1,0.01,0.0001", "--shots", "1,3", "--fraction", "0.2")
    path = run(tmp_path / "zoo", data, *flags)
    record = read_record(path)
    assert isinstance(record, LogregRecord)
    train, labels, val, truth = arrays(tmp_path / "zoo")
    rows, held_out = split_off(48, 0.1, 0)
    assert record.held_out == len(held_out) == 4
    assert [one.cost for one in record.path] == list(COSTS)
    for one in record.path:
        part = fitted(train[rows], labels[rows], one.cost)
        assert one.held_out_top1 == 100 * part.score(train[held_out], labels[held_out])
        whole = fitted(train, labels, one.cost)
        assert one.top1 == pytest.approx(100 * whole.score(val, truth))
    scores = [one.held_out_top1 for one in record.path]
    best = scores.index(max(scores))
    assert (record.cost, record.top1) == (COSTS[best], record.path[best].top1)
    assert record.outcomes is not None
    ranks = read_outcomes(path, record.outcomes, record.data["val"])["logreg.rank"]
    assert 100 * (ranks == 0).mean() == pytest.approx(record.top1)

    wanted = {"1": [1] * 3, "3": [3] * 3, "0.2": labels_per_class(labels, rows, 0.2)}
    assert wanted["0.2"] == [3, 3, 3]
    assert record.fractions["0.2"].top1 == record.shots["3"].top1  # the same rows
    names = ("a", "b", "c")
    for k, found in record.shots.items():
        draws = [draw(labels, rows, wanted[k], 0, number, names) for number in range(5)]
        models = [[fitted(train[one], labels[one], cost) for one in draws] for cost in COSTS]
        held = [
            np.mean([100 * m.score(train[held_out], labels[held_out]) for m in of]) for of in models
        ]
        assert found.held_out_by_cost == pytest.approx(held)
        chosen = int(np.argmax(held))
        assert found.cost == COSTS[chosen]
        expected = [100 * model.score(val, truth) for model in models[chosen]]
        assert found.top1 == pytest.approx(expected)
        assert found.mean == pytest.approx(np.mean(expected))
        assert found.std == pytest.approx(np.std(expected))
        assert (found.labels, found.source) == (3 * int(k), "drawn")


def test_draws_are_of_the_fitted_rows_and_smaller_ones_within_larger() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 400)
    rows, held_out = split_off(400, 0.1, 7)
    assert sorted([*rows, *held_out]) == list(range(400))
    few, more = (draw(labels, rows, [k] * 4, 7, 0, "abcd") for k in (2, 9))
    assert set(few) < set(more) <= set(rows)
    assert np.bincount(labels[more]).tolist() == [9] * 4
    assert not np.array_equal(few, draw(labels, rows, [2] * 4, 7, 1, "abcd"))
    assert not np.array_equal(rows, split_off(400, 0.1, 8)[0])


def test_public_lists_are_used_where_they_are(tmp_path: Path, data: Path) -> None:
    names = [f"n0{label}/{number}.jpg" for label in (1, 2, 3) for number in (4, 5)]
    (data / "meta" / "10percent.txt").write_text("\n".join(names) + "\n")
    flags = ("--costs", "0.01", "--shots", "none", "--fraction", "0.1")
    path = run(tmp_path / "zoo", data, *flags)
    record = read_record(path)
    assert isinstance(record, LogregRecord)
    found = record.fractions["0.1"]
    assert (found.labels, found.source, len(found.top1)) == (6, "10percent.txt", 1)
    train, labels, val, truth = arrays(tmp_path / "zoo")
    rows = [16 * label + place for label in range(3) for place in (4, 5)]
    assert found.top1[0] == pytest.approx(
        100 * fitted(train[rows], labels[rows], 0.01).score(val, truth)
    )
    (data / "meta" / "10percent.txt").write_text("\n".join(names[:5]) + "\n")
    assert run(tmp_path / "zoo", data, *flags) != path
    for content, complaint in (
        ("n01/1.jpg\nn02/1.jpg\n", "lists no image of 1 classes, of which n03 is one"),
        ("n01/99.jpg\n", "line 1: n01/99.jpg is no training image"),
        ("n01/1.jpg\nn01/1.jpg\n", "line 2: n01/1.jpg stands there twice"),
        ("n01/1.jpg\n2.jpg\n", "line 2: 2.jpg is the name of 3 training images: write CLASS/NAME"),
        (
            "\n".join(f"n0{label}/{number}.jpg" for label in (1, 2, 3) for number in range(16)),
            "names all 4 images that are held out to choose the cost of 0.1 by",
        ),
    ):
        (data / "meta" / "10percent.txt").write_text(content)
        with pytest.raises(UserError, match=complaint):
            run(tmp_path / "zoo", data, *flags)


def test_a_path_in_a_public_list_may_begin_above_the_classes(data: Path) -> None:
    """Files of all classes have the same names here: a path means one of them."""
    images = load_dataset("own:x", data).splits["train"]
    path = data / "list.txt"
    for prefix in ("", "train/", "imagenet/train/"):
        path.write_text("".join(f"{prefix}n0{label}/{label}.jpg 0\n" for label in (1, 2, 3)))
        found = [images.paths[row] for row in listed_rows(path, images)]
        assert found == ["n01/1.jpg", "n02/2.jpg", "n03/3.jpg"]


def test_mistakes_are_one_line_before_anything_is_extracted(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, complaint in (
        (
            ("--shots", "16"),
            "a few-label draw needs 16: choose smaller --shots, at most 14 on these images (in a "
            "suite --set per_class=14)",
        ),
        (("--costs", "0,1"), "costs must be above 0 and ascending"),
        (("--costs", "nan"), "costs must be above 0 and ascending"),
        (("--costs", "one"), "--costs"),
        (("--fraction", "1.5"), "a fraction of the labels is between 0 and 1"),
        (("--shots", "1", "--set", "per_class=2"), "--shots and --set per_class=2 are both given"),
        (("--fraction", "0.1,0.1000001"), "two fractions are 10% of the labels: keep one"),
        (("--set", "held_out=0.001"), "leaves none to fit or none to select by"),
    ):
        words = ["--ckpt", "random:resnet18", "--zoo", str(tmp_path / "zoo"), "--data", str(data)]
        with pytest.raises(SystemExit) as ended:
            run_command(main, [*words, *flags])
        assert ended.value.code == 2
        (line,) = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("note: ")]
        assert complaint in line, line
    assert not (tmp_path / "zoo" / "features").exists()


def test_the_advice_for_few_images_is_taken_by_a_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_image_folders(tmp_path / "own", train=6, val=2)
    flags = ["--ckpt", "random:resnet18", "--suite", "quick", "--own", "few", "--data", str(data)]
    flags += ["--zoo", str(tmp_path / "zoo"), "--dry-run", "--set", "ks=5", "--device", "cpu"]
    with pytest.raises(UserError, match="needs 10: choose smaller --shots, at most") as raised:
        suite([*flags, "--shots", "1"])
    advice = str(raised.value).partition("(in a suite ")[2].partition(")")[0].split()
    suite([*flags, *advice])
    assert "logreg" in capsys.readouterr().out


def test_where_a_class_is_held_out_whole_fewer_shots_are_no_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_image_folders(tmp_path / "own", train=2, val=2)
    flags = ["--ckpt", "random:resnet18", "--own", "few", "--data", str(data), "--dry-run"]
    flags += ["--zoo", str(tmp_path / "zoo"), "--device", "cpu", "--set", "held_out=0.5"]
    whole = next(  # a seed that holds out both images of a class
        seed for seed in range(100) if len({row // 2 for row in split_off(6, 0.5, seed)[0]}) < 3
    )
    flags += ["--seed", str(whole)]
    with pytest.raises(UserError, match="needs 1: another --seed holds out others") as raised:
        main([*flags, "--shots", "1"])
    assert "smaller" not in str(raised.value)
    main([*flags, "--shots", "none", "--fraction", "none"])
    advice = str(raised.value).partition("(in a suite ")[2].partition(")")[0].split()
    suite([*flags, "--suite", "quick", "--set", "ks=5", *advice])
    assert "logreg" in capsys.readouterr().out


def test_zscore_standardises_by_train(tmp_path: Path, data: Path) -> None:
    flags = ("--costs", "0.01", "--shots", "none", "--fraction", "none")
    record = read_record(run(tmp_path / "zoo", data, *flags, "--set", "standardise=zscore"))
    assert isinstance(record, LogregRecord)
    train, labels, val, truth = arrays(tmp_path / "zoo")
    deviation = train.std(0)
    deviation[deviation == 0] = 1
    model = fitted((train - train.mean(0)) / deviation, labels, 0.01)
    assert record.top1 == pytest.approx(100 * model.score((val - train.mean(0)) / deviation, truth))
    assert (record.shots, record.fractions) == ({}, {})
