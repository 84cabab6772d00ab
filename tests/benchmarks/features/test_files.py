import json
import math
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import low_shot_svm
from benchmarks.features import files
from benchmarks.features.arrays import open_array
from benchmarks.features.labels import find_convention, read_classes, read_labels
from slurm.errors import UserError
from tests.benchmarks.svm.svm_data import Recipe, make, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "features", make(Recipe(rows=30, test_rows=20, dimensions=6)))


def _nan(folder: Path) -> None:
    path = folder / "voc07_test_feat5.npy"
    rows = np.load(path)
    rows[7, 2] = np.nan
    np.save(path, rows)


def _infinity(folder: Path) -> None:
    path = folder / "voc07_trainval_feat5.npy"
    rows = np.load(path)
    rows[3, 0] = -np.inf
    np.save(path, rows)


def _rows(folder: Path) -> None:
    path = folder / "voc07_trainval_feat5.npy"
    np.save(path, np.load(path)[:-1])


def _width(folder: Path) -> None:
    path = folder / "voc07_test_feat5.npy"
    np.save(path, np.load(path)[:, :-1])


def _labels(folder: Path) -> None:
    path = folder / "train_labels.npy"
    labels = np.load(path)
    labels[4, 1] = 2
    np.save(path, labels)


def _classes(folder: Path) -> None:
    path = folder / "test_labels.npy"
    np.save(path, np.load(path)[:, :-1])


def _truncated(folder: Path) -> None:
    path = folder / "voc07_test_feat5.npy"
    path.write_bytes(path.read_bytes()[:-100])


def _short_header(folder: Path) -> None:
    (folder / "voc07_test_feat5.npy").write_bytes(b"\x93NUMPY\x01\x00")


def _objects(folder: Path) -> None:
    np.save(folder / "voc07_test_feat5.npy", np.array([[{}]], dtype=object), allow_pickle=True)


def _text(folder: Path) -> None:
    (folder / "voc07_test_feat5.npy").write_text("not an array")


def _integers(folder: Path) -> None:
    np.save(folder / "voc07_test_feat5.npy", np.zeros((20, 6), dtype=np.int64))


def _change(folder: Path, split: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / f"voc07_{split}_feat5.npy"
    np.save(path, change(np.load(path).astype(np.float64)))


def _beyond_float32(folder: Path) -> None:
    _change(folder, "trainval", lambda rows: rows * 1e39)


def _norm_overflows(folder: Path) -> None:
    _change(folder, "test", lambda rows: rows * 1e200)


def _vanishing(folder: Path) -> None:
    _change(folder, "trainval", lambda rows: rows * 1e-12)


def _zero(folder: Path) -> None:
    _change(folder, "test", np.zeros_like)


def _half_written(folder: Path) -> None:
    path = folder / "voc07_trainval_feat5.npy"
    rows = np.load(path)
    rows[23:] = 0
    np.save(path, rows)


def _constant(folder: Path) -> None:
    _change(folder, "trainval", lambda rows: np.repeat(rows[:1], len(rows), axis=0))


def _constant_up_to_scale(folder: Path) -> None:
    _change(folder, "test", lambda rows: np.outer(np.arange(1, len(rows) + 1), rows[0]))


def _constant_but_for_rounding(folder: Path) -> None:
    _change(folder, "trainval", lambda rows: 1 + 1e-8 * rows)


def _pipe(folder: Path) -> None:
    _missing(folder)
    os.mkfifo(folder / "voc07_test_feat5.npy")


def _folder(folder: Path) -> None:
    _missing(folder)
    (folder / "voc07_test_feat5.npy").mkdir()


def _broken_link(folder: Path) -> None:
    _missing(folder)
    (folder / "voc07_test_feat5.npy").symlink_to("nowhere.npy")


def _archive(folder: Path) -> None:
    np.savez(folder / "x.npz", np.zeros(3))
    (folder / "x.npz").rename(folder / "voc07_test_feat5.npy")


def _pickled(folder: Path) -> None:
    (folder / "voc07_test_feat5.npy").write_bytes(pickle.dumps([1.0]))


def _empty(folder: Path) -> None:
    (folder / "voc07_test_feat5.npy").write_bytes(b"")


def _not_utf8(folder: Path) -> None:
    (folder / "classes.json").write_bytes(b'["caf\xe9"]')


def _surrogate(folder: Path) -> None:
    (folder / "classes.json").write_text(json.dumps(["a", "b", "c", "\ud800"]))


def _nested(folder: Path) -> None:
    (folder / "classes.json").write_text("[" * 5000 + "]" * 5000)


def _two_alike(folder: Path) -> None:
    (folder / "classes.json").write_text('["a", "b", "c", "a"]')


def _missing(folder: Path) -> None:
    (folder / "voc07_test_feat5.npy").unlink()


BROKEN: dict[Callable[[Path], None], str] = {
    _nan: r"voc07_test_feat5\.npy holds NaN or infinity in row 7",
    _infinity: r"voc07_trainval_feat5\.npy holds NaN or infinity in row 3",
    _rows: r"voc07_trainval_feat5\.npy has 29 rows but the labels of trainval have 30",
    _width: r"voc07_test_feat5\.npy has 5 dimensions but trainval has 6",
    _labels: r"train_labels\.npy holds 2 in row 4, column 1",
    _classes: r"test_labels\.npy has 3 classes but trainval has 4",
    _truncated: r"voc07_test_feat5\.npy is not a whole \.npy array",
    _short_header: r"voc07_test_feat5\.npy is not a whole \.npy array",
    _objects: r"voc07_test_feat5\.npy is not a whole \.npy array: pickled objects are not read",
    _text: r"voc07_test_feat5\.npy is not a whole \.npy array: it is text, 'not an array'",
    _integers: r"voc07_test_feat5\.npy holds int64",
    _beyond_float32: r"trainval_feat5\.npy holds .*e\+39 in row 0, beyond the range of float32",
    _norm_overflows: r"test_feat5\.npy holds .*e\+200 in row 0, beyond the range of float32",
    _vanishing: r"trainval_feat5\.npy holds no value beyond .*e-12: nothing is left",
    _zero: r"test_feat5\.npy holds no value beyond 0: nothing is left",
    _half_written: r"trainval_feat5\.npy holds only zeros in 7 of 30 rows, first in row 23",
    _constant: r"trainval_feat5\.npy is constant",
    _constant_up_to_scale: r"test_feat5\.npy is constant",
    _constant_but_for_rounding: r"trainval_feat5\.npy is constant",
    _pipe: r"test_feat5\.npy: it is a pipe, where a file is expected",
    _folder: r"test_feat5\.npy: Is a directory",
    _broken_link: r"test_feat5\.npy is a link that leads nowhere",
    _archive: r"test_feat5\.npy is not a whole \.npy array: it is an archive",
    _pickled: r"test_feat5\.npy is not a whole \.npy array: it is a pickle",
    _empty: r"test_feat5\.npy is not a whole \.npy array: the file is empty",
    _not_utf8: r"classes\.json is not a JSON list of class names",
    _surrogate: r"classes\.json must be a JSON list of 4 class names",
    _nested: r"classes\.json is not a JSON list of class names",
    _two_alike: r"classes\.json names a class twice",
    _missing: r"voc07_test_feat5\.npy is missing",
}


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__.strip("_"))
def test_each_fault_is_one_line_that_names_the_file(
    folder: Path, breaks: Callable[[Path], None]
) -> None:
    breaks(folder)
    with pytest.raises(UserError, match=BROKEN[breaks]) as caught:
        files.read_layer(folder, folder, "feature5")
    assert "\n" not in str(caught.value)


HEADER = st.one_of(
    st.binary(max_size=60),
    st.text("{}()[]',:0123456789-+.eLdscrfotanhpu_<>=|OVUM\n# ", max_size=60).map(str.encode),
    st.sampled_from(
        [
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 8)}",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**99, 8)}",
            b"{'descr': '<f4', 'fortran_order': 3, 'shape': (1, 1)}",
            b"{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (1, 1)}",
            b"{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1, 1)}",
            b"{'descr': 'zz', 'fortran_order': False, 'shape': (1, 1)}",
            b"{'descr': '<f4', 'fortran_order': False}",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (1.5, 1)}",
            b"{" * 50,
            b"-" * 60,
            b"'unterminated",
        ]
    ),
)


@settings(max_examples=200, deadline=None)
@given(HEADER, st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\x09\0"]), st.integers(-3, 3))
def test_no_header_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, header: bytes, version: bytes, off: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "header.npy"
    size = struct.pack("<H" if version == b"\1\0" else "<I", max(0, len(header) + off))
    path.write_bytes(b"\x93NUMPY" + version + size + header + bytes(64))
    message = str(path)
    try:
        array = open_array(path)
        assert math.prod(array.shape) * array.itemsize <= path.stat().st_size
    except UserError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e30])
def test_features_of_any_usual_scale_are_measured(folder: Path, scale: float) -> None:
    _change(folder, "trainval", lambda rows: rows / np.abs(rows).max() * scale)
    files.read_layer(folder, folder, "feature5")


def test_what_was_written_is_read(folder: Path) -> None:
    data = files.read_layer(folder, folder, "feature5")
    np.testing.assert_array_equal(data.train, np.load(folder / "voc07_trainval_feat5.npy"))
    np.testing.assert_array_equal(data.test_labels, np.load(folder / "test_labels.npy"))
    assert isinstance(data.train, np.memmap)
    assert data.classes == ("class1", "class2", "class3", "class4")
    (folder / "classes.json").write_text('["ant", "bee", "cat", "dog"]')
    assert files.read_layer(folder, folder, "feature5").classes == ("ant", "bee", "cat", "dog")


def test_float_labels_of_whole_numbers_are_read(folder: Path) -> None:
    path = folder / "train_labels.npy"
    there = np.load(path)
    np.save(path, there.astype(np.float64))
    np.testing.assert_array_equal(read_labels(folder, "trainval"), there)


def test_class_names_must_fit(folder: Path) -> None:
    (folder / "classes.json").write_text('["ant"]')
    with pytest.raises(UserError, match=r"classes\.json must be a JSON list of 4 class names"):
        files.read_layer(folder, folder, "feature5")


def test_layers_are_found_by_their_files(folder: Path) -> None:
    assert files.find_layers(folder) == ("feature5",)
    (folder / "voc07_test_feat2.npy").write_bytes(b"")
    assert files.find_layers(folder) == ("feature2", "feature5")
    with pytest.raises(UserError, match="holds none of"):
        files.find_layers(folder.parent)
    with pytest.raises(UserError, match="no folder"):
        files.find_layers(folder / "nowhere")


def test_the_fingerprint_follows_content_not_names(folder: Path, tmp_path: Path) -> None:
    one, two = (folder / f"voc07_{split}_feat5.npy" for split in files.SPLITS)
    copy = tmp_path / "copy.npy"
    copy.write_bytes(one.read_bytes())
    assert files.fingerprint(one, two) == files.fingerprint(copy, two)
    assert files.fingerprint(one, two) != files.fingerprint(two, one)
    _nan(folder)
    assert files.fingerprint(copy, one) != files.fingerprint(copy, two)


def test_equal_rows_share_their_first() -> None:
    rows = np.array([[1, 2], [3, 4], [1, 2], [0, 0], [3, 4], [-0.0, 0]], dtype=np.float32)
    assert files.first_alike(rows)[:5].tolist() == [0, 1, 0, 3, 1]


FORMS = {
    "Fortran order": lambda array: np.asfortranarray(array),
    "big-endian": lambda array: array.astype(">f4"),
    "big-endian Fortran order": lambda array: np.asfortranarray(array.astype(">f4")),
    "long double": lambda array: array.astype(np.longdouble),
    "double": lambda array: array.astype(np.float64),
}


@pytest.mark.parametrize("solver", ["gram", "liblinear"])
def test_every_form_of_the_same_features_gives_the_same_figures(
    tmp_path: Path, solver: str
) -> None:
    """As MATLAB, HDF5 converters and other machines leave them."""
    data = make(Recipe(rows=90, test_rows=40, dimensions=12, classes=2))
    found = {}
    for name, form in {"float32": np.ascontiguousarray, **FORMS}.items():
        changed = replace(data, train=form(data.train), test=form(data.test))
        folder = write(tmp_path / name.replace(" ", "-"), changed)
        flags = ["--features", str(folder), "--labels", str(folder), "--zoo", str(tmp_path / "zoo")]
        output = tmp_path / "out.json"
        few = ["--shots", "2", "--samples", "2", "--solver", solver, "--device", "cpu"]
        low_shot_svm.main([*flags, *few, "--json", str(output)])
        found[name] = json.loads(output.read_text())["layers"]["feature5"]["shots"]["2"]["by_cost"]
    assert all(figures == found["float32"] for figures in found.values())


@pytest.mark.parametrize("width", [7, 8192, 9216, 20001])
def test_alike_rows_are_found_wherever_they_stand(width: int) -> None:
    draws = np.random.default_rng(width)
    distinct = draws.standard_normal((40, width)).astype(np.float32)
    order = draws.integers(0, 40, 300)
    found = files.first_alike(distinct[order])
    expected = [int(np.flatnonzero(order == image)[0]) for image in order]
    assert found.tolist() == expected


def test_a_layer_of_dangling_links_is_named_as_missing(folder: Path) -> None:
    for split in files.SPLITS:
        (folder / f"voc07_{split}_feat3.npy").symlink_to("moved_away.npy")
    assert files.find_layers(folder) == ("feature3", "feature5")
    with pytest.raises(UserError, match=r"feat3\.npy is a link that leads nowhere"):
        files.check_layer(folder, folder, "feature3")


@pytest.mark.parametrize("form", [np.float32, np.float64])
def test_features_of_trainval_in_place_of_those_of_test_are_refused(
    tmp_path: Path, form: type
) -> None:
    folder = write(tmp_path / "f", make(Recipe(rows=30, test_rows=30, dimensions=6)))
    np.save(
        folder / "voc07_test_feat5.npy", np.load(folder / "voc07_trainval_feat5.npy").astype(form)
    )
    with pytest.raises(UserError, match=r"voc07_test_feat5\.npy holds the features of trainval"):
        files.read_layer(folder, folder, "feature5")


def test_two_columns_of_the_same_labels_are_noted(folder: Path) -> None:
    assert find_convention(folder, None)[1] == ()
    labels = np.load(folder / "train_labels.npy")
    labels[:, -1] = labels[:, 0]
    np.save(folder / "train_labels.npy", labels)
    (note,) = find_convention(folder, None)[1]
    assert f"train_labels.npy: classes 1 and {labels.shape[1]} have the same labels" in note


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[31m", "\ud800"])
def test_class_names_that_cannot_be_printed_are_refused(folder: Path, name: str) -> None:
    count = np.load(folder / "train_labels.npy").shape[1]
    (folder / "classes.json").write_text(json.dumps([name, *map(str, range(1, count))]))
    with pytest.raises(UserError, match=rf"must be a JSON list of {count} class names"):
        read_classes(folder, count)
