"""Assignments: what is written is read, in as few bytes as it needs; anything else is one line."""

from pathlib import Path

import numpy as np
import pytest

from pretrain.deepcluster.watching.assignments import (
    assignment_files,
    read_assignment,
    write_assignment,
)
from slurm.errors import UserError


@pytest.mark.parametrize(("clusters", "size"), [(2, 1), (256, 1), (257, 2), (65_537, 4)])
def test_a_label_takes_the_bytes_that_it_needs(tmp_path: Path, clusters: int, size: int) -> None:
    labels = np.arange(1000) * 7919 % clusters
    labels[0] = clusters - 1
    write_assignment(tmp_path, 1, labels, clusters)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size == 128 + 1000 * size
    assert np.array_equal(read_assignment(path), labels)


def test_files_are_by_epoch_and_none_is_of_a_later_one(tmp_path: Path) -> None:
    assert assignment_files(tmp_path / "none") == {}
    for epoch in (1, 2, 9, 10_000):
        write_assignment(tmp_path, epoch, np.full(4, 1), 2)
    (tmp_path / "notes.txt").write_text("mine")
    assert list(assignment_files(tmp_path)) == [1, 2, 9, 10_000]
    write_assignment(tmp_path, 2, np.full(4, 0), 2)  # another run of that name begins
    assert list(assignment_files(tmp_path)) == [1, 2]
    assert read_assignment(assignment_files(tmp_path)[2]).tolist() == [0] * 4
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize(
    "content", [b"", b"no array", b"\x93NUMPY\x01\x00"], ids=["empty", "text", "cut"]
)
def test_what_is_no_assignment_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "epoch-0001.npy"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"epoch-0001.npy holds no assignment"):
        read_assignment(path)


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.uint8), np.zeros(3), np.array([None])])
def test_another_array_is_no_assignment(tmp_path: Path, array: object) -> None:
    np.save(tmp_path / "epoch-0001.npy", array)
    with pytest.raises(UserError, match="holds no assignment"):
        read_assignment(tmp_path / "epoch-0001.npy")


def test_an_assignment_of_other_images_is_refused(tmp_path: Path) -> None:
    write_assignment(tmp_path, 1, np.arange(4), 4)
    with pytest.raises(UserError, match="is of 4 images, not of the 5 of --data"):
        read_assignment(tmp_path / "epoch-0001.npy", 5)
