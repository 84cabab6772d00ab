"""The name of feature files that is another's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import low_shot_svm, voc_svm
from tests.benchmarks.svm.svm_data import Recipe, make, write

RECIPE = Recipe(rows=150, test_rows=60, dimensions=8, classes=2)


def words(folder: Path, zoo: Path, *more: str) -> list[str]:
    return ["--features", str(folder), "--labels", str(folder), "--zoo", str(zoo), *more]


def test_folders_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    zoo = tmp_path / "zoo"
    first = write(tmp_path / "a/features", make(RECIPE), layers=(4, 5))
    second = write(tmp_path / "b/features", make(replace(RECIPE, seed=1)), layers=(4, 5))
    voc_svm.main(words(first, zoo, "--layers", "feature4"))
    voc_svm.main(words(first, zoo, "--layers", "feature5"))  # another layer of the same network
    low_shot_svm.main(words(first, zoo, "--shots", "1", "--samples", "1"))
    assert "under the same name" not in capsys.readouterr().err

    voc_svm.main(words(second, zoo, "--name", "other"))
    assert "under the same name" not in capsys.readouterr().err
    low_shot_svm.main(words(second, zoo, "--layers", "feature5", "--shots", "1", "--dry-run"))
    said = capsys.readouterr().err
    (few,) = (zoo / "results/features/voc07_low_shot_svm").glob("*.json")
    assert f"note: {few} is of other features of feature5 under the same name, features" in said
    assert said.count("of other features of feature5") == 2  # those of feature4 alone may stay
    assert "--name" in said


def test_the_name_of_a_checkpoint_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    zoo, folder = tmp_path / "zoo", write(tmp_path / "features", make(RECIPE))
    voc_svm.main(words(folder, zoo))
    (path,) = (zoo / "results/features/voc07_svm").glob("*.json")
    record = json.loads(path.read_text())
    del record["settings"]["features"]
    path.write_text(json.dumps(record))  # as builds wrote it that did not note the files
    voc_svm.main(words(folder, zoo))
    assert "under the same name" not in capsys.readouterr().err
    record["checkpoint"]["weights"] = "0" * 64
    path.write_text(json.dumps(record))
    voc_svm.main(words(folder, zoo))
    assert "is of a checkpoint under the same name" in capsys.readouterr().err
