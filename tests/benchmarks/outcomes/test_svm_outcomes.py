"""The outcomes of the SVM benchmarks give their records' figures again, to the last bit."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import low_shot_svm, results, voc_svm
from benchmarks.catalog.records import read_record
from benchmarks.metrics import envelope_average_precision
from benchmarks.outcomes.files import SPLITS, outcomes_path, read_outcomes
from benchmarks.outcomes.halves import both_halves
from tests.benchmarks.svm.svm_data import Recipe, make, write

RECIPE = Recipe(rows=150, test_rows=60, dimensions=20, classes=3)


def run(command: object, folder: Path, *more: str) -> tuple[results.Record, dict[str, NDArray]]:
    zoo = folder.parent / "zoo"
    flags = ["--features", str(folder), "--labels", str(folder), "--zoo", str(zoo)]
    command.main([*flags, "--device", "cpu", *more])  # type: ignore[attr-defined]
    path = next(zoo.glob("results/*/*/*.json"))
    record = read_record(path)
    assert record.outcomes is not None
    return record, read_outcomes(path, record.outcomes, record.data["test"])


def average_precisions(scores: NDArray, labels: NDArray) -> list[float]:
    kept = labels != -1
    return [
        100 * float(envelope_average_precision(scores[mine, at], labels[mine, at] == 1))
        for at, mine in enumerate(kept.T)
        if (labels[:, at] == 1).any()  # of some halves it is not
    ]


@pytest.mark.parametrize("solver", ["gram", "liblinear"])
def test_full(tmp_path: Path, solver: str) -> None:
    folder = write(tmp_path / "mine", make(RECIPE), layers=(4, 5))
    record, found = run(voc_svm, folder, "--solver", solver)
    assert set(found) == {"feature4.scores", "feature5.scores", "labels"}
    assert found["labels"].dtype == np.int8
    assert isinstance(record, results.VocSvmRecord)
    for layer, one in record.layers.items():
        scores = found[f"{layer}.scores"]
        assert (scores.dtype, scores.shape) == (np.float32, (60, 3))
        assert average_precisions(scores, found["labels"]) == list(one.ap)


@pytest.mark.parametrize("solver", ["gram", "liblinear"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_low_shot(tmp_path: Path, solver: str, threads: str) -> None:
    folder = write(tmp_path / "mine", make(RECIPE), layers=(4, 5))
    more = ["--shots", "1,2", "--samples", "3", "--threads", threads]
    record, found = run(low_shot_svm, folder, "--solver", solver, *more)
    assert isinstance(record, results.LowShotRecord)
    # of every layer, as a table shows that of the full SVM, which may be best at no k
    names = [(f"feature{layer}", k) for layer in (4, 5) for k in ("1", "2")]
    kinds = {f"{layer}.k={k}.{kind}" for layer, k in names for kind in ("ranks", "halves")}
    assert set(found) == {"labels", *kinds}
    for layer, k in names:
        shot = record.layers[layer].shots[k]
        ranks = found[f"{layer}.k={k}.ranks"]
        assert (ranks.dtype, ranks.shape) == (np.uint16, (3, 60, 3))
        draws = [np.mean(average_precisions(-one.astype(float), found["labels"])) for one in ranks]
        assert draws == pytest.approx(shot.by_cost[repr(shot.cost)], abs=1e-12)
        cost = list(shot.by_cost).index(repr(shot.cost))
        by_half = found[f"{layer}.k={k}.halves"]
        assert by_half.shape == (len(shot.by_cost), 2 * SPLITS)
        for at, half in enumerate(both_halves(60, record.data["test"].sha256)):
            aps = [average_precisions(-one[half], found["labels"][half]) for one in ranks * 1.0]
            assert by_half[cost, at] == pytest.approx(np.mean(aps), abs=1e-9)


def test_a_part_whose_outcomes_are_gone_is_made_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", make(RECIPE), layers=(4, 5))
    first, _ = run(voc_svm, folder)
    zoo = tmp_path / "zoo"
    path = next(zoo.glob("results/*/*/*.json"))
    path.unlink()
    next(zoo.glob("results/*/*/parts/feature5*.safetensors")).unlink()
    again, _ = run(voc_svm, folder)
    assert again.outcomes == first.outcomes


def test_an_old_part_without_outcomes_makes_a_record_without(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", make(RECIPE), layers=(4,))
    run(voc_svm, folder)
    path = next((tmp_path / "zoo").glob("results/*/*/*.json"))
    outcomes_path(path).unlink()
    path.unlink()
    part = next((tmp_path / "zoo").glob("results/*/*/parts/*.json"))
    before = {name: one for name, one in json.loads(part.read_text()).items() if name != "outcomes"}
    part.write_text(json.dumps(before))
    flags = ["--features", str(folder), "--labels", str(folder), "--zoo", str(tmp_path / "zoo")]
    voc_svm.main([*flags, "--device", "cpu"])
    assert read_record(path).outcomes is None


def test_layers_of_old_parts_without_outcomes_are_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", make(RECIPE), layers=(4, 5))
    more = ["--shots", "1", "--samples", "2"]
    run(low_shot_svm, folder, *more)
    zoo = tmp_path / "zoo"
    next(zoo.glob("results/*/*/*.json")).unlink()
    part = next(zoo.glob("results/*/*/parts/feature4*.json"))
    part.write_text(json.dumps(json.loads(part.read_text()) | {"outcomes": None}))
    _, found = run(low_shot_svm, folder, *more)
    assert set(found) == {"labels", "feature5.k=1.ranks", "feature5.k=1.halves"}
