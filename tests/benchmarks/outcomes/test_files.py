from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.outcomes.files import SPLITS, outcomes_path, read_outcomes, write_outcomes
from benchmarks.results import Split
from slurm.errors import UserError

TEST = Split(4, 2, "ab" * 32)
TENSORS = {
    "feature1.scores": np.arange(8, dtype=np.float32).reshape(4, 2),
    "feature1.k=1.ranks": np.arange(24, dtype=np.uint16).reshape(3, 4, 2),
    "avgpool.rank": np.arange(4, dtype=np.int16)[::-1],
}


def test_outcomes_read_back_equal_and_lie_beside_the_record(tmp_path: Path) -> None:
    record = tmp_path / "results" / "p-8xb32.1-0123.json"
    known = write_outcomes(record, TENSORS, TEST)
    assert outcomes_path(record).name == "p-8xb32.1-0123.outcomes.safetensors"
    found = read_outcomes(record, known, TEST)
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in TENSORS.items()
    }
    assert write_outcomes(record, TENSORS, TEST) == known


def test_every_cut_and_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    known = write_outcomes(record, TENSORS, TEST)
    path = outcomes_path(record)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="damaged"):
            read_outcomes(record, known, TEST)
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(UserError, match="damaged"):
            read_outcomes(record, known, TEST)


@pytest.mark.parametrize("test", [Split(4, 2, "cd" * 32), Split(5, 2, "ab" * 32)])
def test_outcomes_of_other_images_are_refused(tmp_path: Path, test: Split) -> None:
    known = write_outcomes(tmp_path / "r.json", TENSORS, TEST)
    with pytest.raises(UserError, match="other test images"):
        read_outcomes(tmp_path / "r.json", known, test)


def test_a_tensor_of_another_length_is_refused(tmp_path: Path) -> None:
    known = write_outcomes(tmp_path / "r.json", {"a.rank": np.zeros(3, np.int16)}, TEST)
    with pytest.raises(UserError, match=r"a\.rank is not of 4 images"):
        read_outcomes(tmp_path / "r.json", known, TEST)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    with pytest.raises(UserError, match=r"cannot read .*No such file"):
        read_outcomes(record, "ab", TEST)
    from benchmarks.outcomes.files import fingerprint

    save_file({"a": np.zeros(4)}, outcomes_path(record))
    known = fingerprint(outcomes_path(record).read_bytes())
    with pytest.raises(UserError, match="holds no outcomes"):
        read_outcomes(record, known, TEST)


def test_halves_are_of_so_many_splits(tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    whole = {"feature5.k=1.halves": np.zeros((4, 2 * SPLITS))}
    known = write_outcomes(record, whole, TEST)
    assert read_outcomes(record, known, TEST).keys() == whole.keys()
    known = write_outcomes(record, {"feature5.k=1.halves": np.zeros((4, 3))}, TEST)
    with pytest.raises(UserError, match="is not of 4 halves"):
        read_outcomes(record, known, TEST)
