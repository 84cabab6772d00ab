"""Lists of labelled images: what is read, and what each mistake says."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.datasets import imagenet, joining
from benchmarks.datasets.reading import lists
from benchmarks.datasets.splits import Dataset
from slurm.errors import UserError

Write = Callable[[str, str], Path]


def test_lines_are_split_at_the_last_space(write: Write) -> None:
    listed = lists.read_list(write("train.txt", "a b/c d.jpg 3\nx.png  0\n"))
    assert listed.paths == ("a b/c d.jpg", "x.png")
    assert listed.labels.dtype == np.int64
    assert listed.labels.tolist() == [3, 0]


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg 0\r\nb.jpg 1\r\n",
        "\ufeffa.jpg 0\nb.jpg 1",
        "\na.jpg 0\n\n  \nb.jpg 1\n\n",
        "a.jpg\t0\nb.jpg 1 ",
    ],
    ids=["windows", "byte order mark", "blank lines", "tab and trailing space"],
)
def test_harmless_variants_read_alike(write: Write, text: str) -> None:
    listed = lists.read_list(write("train.txt", text))
    assert (listed.paths, listed.labels.tolist()) == (("a.jpg", "b.jpg"), [0, 1])


def test_repeated_lines_and_odd_file_names_are_kept(write: Write) -> None:
    listed = lists.read_list(write("train.txt", "a.jpg 0\na.jpg 0\na..b\u2028c.jpg 1\n"))
    assert listed.paths == ("a.jpg", "a.jpg", "a..b\u2028c.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 0\nb.jpg\n", r"train\.txt line 2 has no label: 'b\.jpg'; .*_labeled\.txt"),
        ("a.jpg 0\n\nb.jpg one\n", r"train\.txt line 3: the label 'one' is not a class number"),
        ("a.jpg 0\nb.jpg -1\n", r"train\.txt line 2: the label '-1' is not a class number"),
        ("a.jpg 1.5\n", r"train\.txt line 1: the label '1\.5'"),
        ("a.jpg 0\nb.jpg 1_0\n", r"train\.txt line 2: the label '1_0'"),
        ("a.jpg 0\nb.jpg \u0663\n", r"train\.txt line 2: the label '\u0663'"),
        ("a.jpg 99999999999999999999\n", r"train\.txt line 1: the label '9+'"),
        ("a.jpg 0\n../b.jpg 1\n", r"train\.txt line 2: the path '\.\./b\.jpg' leaves"),
        ("a.jpg 0\nb/../../c.jpg 1\n", r"train\.txt line 2: the path .* leaves"),
        ("/etc/a.jpg 0\nb.jpg 0\n", r"train\.txt line 1: the path '/etc/a\.jpg' leaves"),
        ("a.jpg 0\nb\0.jpg 0\n", r"train\.txt line 2: the path .* leaves"),
        ("", r"train\.txt is empty; it must hold lines"),
        (" \n\n", r"train\.txt is empty"),
    ],
)
def test_a_mistake_names_file_and_line(write: Write, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        lists.read_list(write("train.txt", text))
    assert "\n" not in str(caught.value)


def test_a_missing_directory_or_binary_list_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.txt does not exist; it must hold"):
        lists.read_list(tmp_path / "train.txt")
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory, where a file"):
        lists.read_list(tmp_path)
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00 1")
    with pytest.raises(UserError, match=r"train\.txt is not UTF-8 text"):
        lists.read_list(tmp_path / "train.txt")


_NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="/\ufeff"),
    min_size=1,
).filter(lambda name: name != "..")


@given(st.lists(st.tuples(st.lists(_NAMES, min_size=1), st.integers(0, 999999999)), min_size=1))
def test_what_is_written_is_read(rows: list[tuple[list[str], int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.txt"
        text = "\n".join(f"{'/'.join(parts)} {label}" for parts, label in rows)
        file.write_bytes(text.encode())
        listed = lists.read_list(file)
    assert listed.paths == tuple("/".join(parts) for parts, _ in rows)
    assert listed.labels.tolist() == [label for _, label in rows]


def _listed(write: Write, name: str, *labels: int) -> lists.LabelledList:
    lines = (f"{name[0]}{n}.jpg {v}\n\n" for n, v in enumerate(labels))
    return lists.read_list(write(name, "".join(lines)))


@pytest.mark.parametrize(
    ("labels", "missing"), [((0, 2, 3), 1), ((1, 2), 0), ((0, 1, 999999999), 2)]
)
def test_gaps_in_the_training_labels_are_refused(
    write: Write, tmp_path: Path, labels: tuple[int, ...], missing: int
) -> None:
    train = _listed(write, "train.txt", *labels)
    val = _listed(write, "val.txt", 0)
    message = rf"train\.txt: no image has label {missing}, but labels go up to {max(labels)};"
    with pytest.raises(UserError, match=message):
        joining.make_dataset("imagenet", train, tmp_path, val, tmp_path)


def test_a_validation_label_out_of_range_is_refused_with_its_line(
    write: Write, tmp_path: Path
) -> None:
    train = _listed(write, "train.txt", 0, 1)
    val = _listed(write, "val.txt", 0, 1, 2, 7)
    message = r"val\.txt line 5: the label 2 of v2\.jpg is out of range; the 2 classes of .*0 to 1"
    with pytest.raises(UserError, match=message):
        joining.make_dataset("imagenet", train, tmp_path, val, tmp_path)


def test_validation_may_lack_classes(write: Write, tmp_path: Path) -> None:
    train = _listed(write, "train.txt", 2, 0, 1)
    val = _listed(write, "val.txt", 1)
    dataset = joining.make_dataset("imagenet", train, tmp_path, val, tmp_path)
    assert dataset.splits["val"].classes == ("0", "1", "2")


def test_the_slash_of_places365_is_left_out(write: Write) -> None:
    listed = lists.read_list(write("train.txt", "/a/abbey/1.jpg 0\n/b/bar/2.jpg 1\n"))
    assert listed.paths == ("a/abbey/1.jpg", "b/bar/2.jpg")
    assert listed.labels.tolist() == [0, 1]


def test_a_slash_does_not_lead_out(write: Write) -> None:
    with pytest.raises(UserError, match=r"line 2: the path '\.\./b\.jpg' leaves"):
        lists.read_list(write("train.txt", "/a.jpg 0\n/../b.jpg 0\n"))
    assert lists.read_list(write("train.txt", "//etc/a.jpg 0\n")).paths == ("etc/a.jpg",)


@pytest.mark.parametrize("where", ["train", "val"])
@pytest.mark.parametrize("again", ["a.jpg", "./a.jpg", "x/..a/../a.jpg", ".//a.jpg"])
def test_an_image_with_two_labels_is_refused(
    write: Write, tmp_path: Path, where: str, again: str
) -> None:
    plain = write("plain.txt", "c.jpg 0\nd.jpg 1\n")
    odd = write("odd.txt", f"a.jpg 0\nb.jpg 1\n{again} 1\n")
    if ".." in again.split("/"):
        with pytest.raises(UserError, match="leaves the image folder"):
            lists.read_list(odd)
        return
    files = (odd, plain) if where == "train" else (plain, odd)
    train, val = map(lists.read_list, files)
    with pytest.raises(UserError, match=r"odd\.txt gives the image a\.jpg two labels, 0 and 1"):
        joining.make_dataset("imagenet", train, tmp_path / "train", val, tmp_path / "val")


def test_an_image_that_is_trained_on_and_tested_is_refused(write: Write, tmp_path: Path) -> None:
    train = lists.read_list(write("train.txt", "a.jpg 0\nb.jpg 1\n"))
    val = lists.read_list(write("val.txt", "c.jpg 0\n./b.jpg 1\n"))
    with pytest.raises(UserError, match=r"val\.txt names b\.jpg, which .*train\.txt names too"):
        joining.make_dataset("places205", train, tmp_path, val, tmp_path)
    inner = lists.read_list(write("inner.txt", "c.jpg 0\ntrain/b.jpg 1\n"))
    with pytest.raises(UserError, match=r"inner\.txt names train/b\.jpg, which .*train\.txt"):
        joining.make_dataset("places205", train, tmp_path / "train", inner, tmp_path)
    # of two folders, they are two images
    joining.make_dataset("imagenet", train, tmp_path / "train", val, tmp_path / "val")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a.jpg 0\nb\xe9.jpg 1\n", r"line 2 is b'b\\xe9\.jpg 1'; write the names in UTF-8"),
        ("a.jpg 0\n".encode("utf-16"), "is not UTF-8 text but UTF-16; save it as UTF-8"),
    ],
)
def test_another_encoding_is_named_with_its_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(UserError, match=says):
        lists.read_list(tmp_path / "train.txt")


@given(st.text(st.sampled_from("a1 /\t\n\u3000."), max_size=40))
def test_the_quick_way_reads_as_the_other(text: str) -> None:
    lines = text.split("\n")
    plain = lists._split_plain(lines) if text.strip() else None
    if plain is not None:
        assert plain == lists._split_any(lines)


@pytest.mark.parametrize("where", ["train", "val"])
@pytest.mark.parametrize("again", ["a.jpg", "./a.jpg", ".//a.jpg"])
def test_a_repeated_line_is_refused_with_its_number(
    write: Write, tmp_path: Path, where: str, again: str
) -> None:
    plain = write("plain.txt", "c.jpg 0\nd.jpg 1\n")
    odd = write("odd.txt", f"a.jpg 0\n\nb.jpg 1\n{again} 0\n")
    train, val = map(lists.read_list, (odd, plain) if where == "train" else (plain, odd))
    with pytest.raises(UserError, match=r"odd\.txt line 4 repeats the image a\.jpg, which would"):
        joining.make_dataset("imagenet", train, tmp_path / "train", val, tmp_path / "val")


def numbered(write: Write, name: str, folders: str, *, first: int = 0, prefix: str = "") -> Path:
    """A list of two images of each folder, which are numbered in the order given."""
    lines = [
        f"{prefix}{folder}/{name[0]}{image}.jpg {label}"
        for label, folder in enumerate(folders.split(), first)
        for image in range(2)
    ]
    return write(name, "\n".join(lines))


def join(tmp_path: Path, train: Path, val: Path) -> Dataset:
    listed = map(lists.read_list, (train, val))
    return joining.make_dataset("imagenet", next(listed), tmp_path, next(listed), tmp_path)


@pytest.mark.parametrize("prefixes", [("", ""), ("train/", "val/"), ("x/train/", "")])
@pytest.mark.parametrize("folders", ["ant bee cow", "a/ant b/bee b/cow", "out/ant out/bee in/ant"])
def test_splits_that_number_their_classes_otherwise_are_refused(
    write: Write, tmp_path: Path, prefixes: tuple[str, str], folders: str
) -> None:
    train = numbered(write, "train.txt", folders, prefix=prefixes[0])
    val = numbered(write, "val.txt", folders, prefix=prefixes[1])
    assert join(tmp_path, train, val).notes == ()
    one, two, three = folders.split()
    val = numbered(write, "val.txt", f"{two} {one} {three}", prefix=prefixes[1])
    says = rf"val\.txt line 1 gives the images of {two} the label 0, .*train\.txt gives them 1: "
    with pytest.raises(UserError, match=says):
        join(tmp_path, train, val)


def test_a_shift_by_one_is_refused_though_no_label_is_out_of_range(
    write: Write, tmp_path: Path
) -> None:
    """The last class has no image in val, so that its labels from 1 all exist."""
    train = numbered(write, "train.txt", "ant bee cow")
    val = numbered(write, "val.txt", "ant bee", first=1)
    with pytest.raises(UserError, match=r"val\.txt line 1 gives the images of ant the label 1"):
        join(tmp_path, train, val)


def test_a_class_of_val_alone_is_refused(write: Write, tmp_path: Path) -> None:
    train = numbered(write, "train.txt", "ant bee cow")
    val = numbered(write, "val.txt", "ant bee elk")
    says = r"line 5 gives the images of elk the label 2, .*gives them none, since there 2 is cow"
    with pytest.raises(UserError, match=says):
        join(tmp_path, train, val)


def test_labels_from_one_in_val_alone_are_named(write: Write, tmp_path: Path) -> None:
    train = _listed(write, "train.txt", 0, 1, 2)
    val = _listed(write, "val.txt", 1, 2, 3)
    with pytest.raises(UserError, match=r"label 3 of .* out of range; .* numbered from 1 here\?"):
        joining.make_dataset("imagenet", train, tmp_path / "t", val, tmp_path / "v")
    with pytest.raises(UserError, match=r"val\.txt: no image has label 0, but labels go up to 3"):
        joining.make_dataset("imagenet", val, tmp_path / "v", train, tmp_path / "t")


@pytest.mark.parametrize(
    ("train", "val"),
    [
        # one folder holds images of several classes, so that folders are no classes
        ("s1/a.jpg 0\ns2/b.jpg 1\ns1/c.jpg 1\n", "s2/d.jpg 0\ns1/e.jpg 1\n"),
        ("s1/a.jpg 0\ns2/b.jpg 1\n", "s2/d.jpg 0\ns2/f.jpg 1\n"),
        # other names of the classes, or none
        ("ant/a.jpg 0\nbee/b.jpg 1\n", "0/d.jpg 0\n1/e.jpg 1\n"),
        ("ant/a.jpg 0\nbee/b.jpg 1\n", "d.jpg 1\ne.jpg 0\n"),
        ("a.jpg 0\nb.jpg 1\n", "ant/d.jpg 1\nbee/e.jpg 0\n"),
    ],
)
def test_folders_that_are_no_classes_say_nothing(
    write: Write, tmp_path: Path, train: str, val: str
) -> None:
    assert join(tmp_path, write("train.txt", train), write("val.txt", val)).notes == ()


SYNSETS = "n01735189 n01751748 n02105855 n03125729 n04263257 n09193705"  # in order of their names


@pytest.mark.parametrize("listed", [True, False])
def test_the_numbers_of_the_devkit_are_refused_for_the_flat_val_of_imagenet(
    write: Write, tmp_path: Path, listed: bool
) -> None:
    """ILSVRC2012_validation_ground_truth.txt numbers the synsets in an order of its own."""
    (tmp_path / "val").mkdir()
    for number in range(1, 4):
        (tmp_path / f"val/ILSVRC2012_val_0000000{number}.JPEG").touch()
    for synset in SYNSETS.split():
        write(f"train/{synset}/{synset}_1.JPEG", "")
    if listed:
        lines = [f"{name}/{name}_1.JPEG {row}" for row, name in enumerate(SYNSETS.split())]
        write("meta/train.txt", "\n".join(lines))
    right = "ILSVRC2012_val_00000001.JPEG 1\nILSVRC2012_val_00000002.JPEG 5\n"
    write("meta/val.txt", right)
    assert imagenet.load(tmp_path).splits["val"].labels.tolist() == [1, 5]
    write("meta/val.txt", right + "ILSVRC2012_val_00000003.JPEG 4\n")
    with pytest.raises(UserError, match=r"val\.txt line 3 gives ILSVRC2012_val_00000003\.JPEG the"):
        imagenet.load(tmp_path)


def test_a_class_without_validation_images_is_noted(write: Write, tmp_path: Path) -> None:
    train, val = numbered(write, "train.txt", "ant bee cow"), write("val.txt", "cow/1.jpg 2\n")
    assert join(tmp_path, train, val).notes == ("val has images of 1 of the 3 classes of train",)


def test_more_images_in_val_than_in_train_are_noted(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = numbered(write, "train.txt", "ant bee")
    val = write(
        "val.txt",
        "\n".join(
            f"{name}/v{n}.jpg {label}"
            for label, name in enumerate(("ant", "bee"))
            for n in range(3)
        ),
    )
    assert join(tmp_path, train, val).notes == ("val has more images than train, 6 and 4",)
    assert "should they be the other way round?" in capsys.readouterr().err
