from pathlib import Path

import numpy as np
import pytest

from benchmarks.svm.draws import draw, draws_path, official_folder, read_or_draw
from slurm.errors import UserError

CLASSES = ("ant", "bee", "cat")


def labels_of(rows: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    labels = (rng.random((rows, 3)) < 0.2).astype(np.int8)
    labels[rng.random(labels.shape) < 0.05] = -1
    return labels


def test_a_draw_has_k_positives_and_19_k_negatives_of_the_right_kind() -> None:
    labels = labels_of()
    targets = draw(labels, CLASSES, sample=1, k=4, negatives=19, seed=0)
    assert targets.dtype == np.int8
    assert (targets == 1).sum(0).tolist() == [4] * 3
    assert (targets == 0).sum(0).tolist() == [76] * 3
    drawn = targets != -1
    np.testing.assert_array_equal(targets[drawn], labels[drawn])


def test_draws_depend_on_seed_sample_k_and_class_alone() -> None:
    labels = labels_of()
    base = draw(labels, CLASSES, 1, 4, 19, 0)
    np.testing.assert_array_equal(base, draw(labels, CLASSES, 1, 4, 19, 0))
    for other in (draw(labels, CLASSES, 2, 4, 19, 0), draw(labels, CLASSES, 1, 4, 19, 1)):
        assert (other != base).any()
    # the draw of a class does not move when another class does
    changed = labels.copy()
    changed[:, 0] = 1 - changed[:, 0].clip(0)
    np.testing.assert_array_equal(draw(changed, CLASSES, 1, 4, 19, 0)[:, 1:], base[:, 1:])
    # nor are two classes with the same labels drawn alike
    same = np.repeat(labels[:, :1], 3, axis=1)
    drawn = draw(same, CLASSES, 1, 4, 19, 0)
    assert (drawn[:, 0] != drawn[:, 1]).any()


@pytest.mark.parametrize(("value", "kind"), [(1, "positives"), (0, "negatives")])
def test_a_class_smaller_than_k_is_one_clear_error(value: int, kind: str) -> None:
    labels = labels_of()
    labels[:, 1] = 1 - value
    labels[0, 1] = value
    with pytest.raises(UserError, match=f"class bee has 1 {kind} in trainval, k=2 needs"):
        draw(labels, CLASSES, 1, 2, 19, 0)


def test_draws_are_left_in_the_official_format_and_read_back(tmp_path: Path) -> None:
    labels = labels_of()
    store = tmp_path / "store"
    drawn = read_or_draw(None, store, labels, CLASSES, 2, 4, 19, 0)
    assert sorted(p.name for p in store.iterdir()) == [
        "train_targets_sample1_k4.npy",
        "train_targets_sample2_k4.npy",
    ]
    read = read_or_draw(store, tmp_path / "unused", labels, CLASSES, 2, 4, 19, seed=99)
    np.testing.assert_array_equal(drawn, read)
    assert not (tmp_path / "unused").exists()


def test_official_files_are_found_beside_the_labels(tmp_path: Path) -> None:
    assert official_folder(tmp_path) is None
    folder = tmp_path / "low_shot" / "labels"
    folder.mkdir(parents=True)
    np.save(draws_path(folder, 1, 1), labels_of())
    assert official_folder(tmp_path) == folder


def test_official_files_must_be_whole(tmp_path: Path) -> None:
    labels = labels_of()
    np.save(draws_path(tmp_path, 1, 4), labels[:-1])
    with pytest.raises(UserError, match="has shape"):
        read_or_draw(tmp_path, tmp_path, labels, CLASSES, 1, 4, 19, 0)
    with pytest.raises(
        UserError, match=r"sample1_k8\.npy is missing; there are train_targets_sample1_k4"
    ):
        read_or_draw(tmp_path, tmp_path, labels, CLASSES, 1, 8, 19, 0)
    empty = draw(labels, CLASSES, 1, 4, 19, 0)
    empty[:, 2] = -1
    np.save(draws_path(tmp_path, 1, 4), empty)
    with pytest.raises(UserError, match="has no positive rows for class cat"):
        read_or_draw(tmp_path, tmp_path, labels, CLASSES, 1, 4, 19, 0)


def test_two_official_draws_that_are_the_same_are_refused(tmp_path: Path) -> None:
    labels = labels_of()
    for sample, drawn in ((1, 1), (2, 2), (3, 1)):
        np.save(draws_path(tmp_path, sample, 4), draw(labels, CLASSES, drawn, 4, 19, 0))
    assert len(read_or_draw(tmp_path, tmp_path, labels, CLASSES, 2, 4, 19, 0)) == 2
    with pytest.raises(UserError, match=r"sample3_k4\.npy is the same draw as train_.*sample1_k4"):
        read_or_draw(tmp_path, tmp_path, labels, CLASSES, 3, 4, 19, 0)


def test_draws_of_all_that_there_is_may_be_the_same(tmp_path: Path) -> None:
    labels = np.array([[1] * 3] * 4 + [[0] * 3] * 76, dtype=np.int8)
    for sample in (1, 2):
        np.save(draws_path(tmp_path, sample, 4), draw(labels, CLASSES, sample, 4, 19, 0))
    assert len(read_or_draw(tmp_path, tmp_path, labels, CLASSES, 2, 4, 19, 0)) == 2
