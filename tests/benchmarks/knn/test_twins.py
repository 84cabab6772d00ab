"""Copies of training images in val: counted against all pairs, and said with the record."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.catalog.records import read_record
from benchmarks.knn.__main__ import main
from benchmarks.knn.neighbours import nearest
from benchmarks.knn.twins import APART, count_twins, twins_note

SMALL = ("--set", "image.crop=32", "--set", "image.resize=40", "--device", "cpu", "--workers", "0")


@given(st.integers(0, 2**16), st.integers(1, 30), st.floats(0, 4e-3))
def test_twins_are_those_of_all_pairs(seed: int, copies: int, noise: float) -> None:
    draws = np.random.default_rng(seed)
    bank, queries = (draws.normal(size=(n, 16)).astype(np.float32) for n in (60, 40))
    rows = draws.permutation(40)[:copies]
    moved = noise * draws.normal(size=(len(rows), 16)).astype(np.float32)
    queries[rows] = bank[draws.integers(0, 60, len(rows))] + moved
    found = count_twins(bank, queries, nearest(bank, queries, 3, torch.device("cpu")))
    apart = np.linalg.norm(queries[:, None].astype(float) - bank, axis=2).min(1)
    limits = [APART * scale * np.linalg.norm(queries, axis=1) for scale in (0.999, 1.001)]
    assert (apart <= limits[0]).sum() <= found <= (apart <= limits[1]).sum()


def test_features_that_are_all_alike_are_twins() -> None:
    same = np.full((20, 8), 3.0, np.float32)
    assert count_twins(same, same[:7], nearest(same, same[:7], 1, torch.device("cpu"))) == 7
    longer = 2 * same  # in one direction, but not the same
    assert count_twins(same, longer, nearest(same, longer, 1, torch.device("cpu"))) == 0


def test_few_are_not_worth_a_word() -> None:
    assert twins_note(0, 100) == []
    assert twins_note(49, 5000) == []
    assert "50 of 5,000 val images have the features of a training image" in twins_note(50, 5000)[0]


@pytest.mark.parametrize("copies", [0, 2])
def test_the_record_says_it(tmp_path: Path, tiny_imagenet: Path, copies: int) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_imagenet, data)
    trained, tested = (
        sorted(path for path in (data / split).rglob("*") if path.is_file())
        for split in ("train", "val")
    )
    for one, other in zip(trained[:copies], tested):
        shutil.copy(one, other)
    zoo = tmp_path / "zoo"
    main(["--ckpt", "random:resnet18", "--zoo", str(zoo), "--data", str(data), "--k", "3", *SMALL])
    (path,) = zoo.glob("results/*/*/*.json")
    notes = [note for note in read_record(path).notes if "have the features of" in note]
    assert [note.partition(" of ")[0] for note in notes] == (["2"] if copies else [])
