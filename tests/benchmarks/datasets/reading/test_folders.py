"""What is left among images by servers, desktops and notebooks; links; names; special files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.datasets import imagenet, inaturalist18, places205, voc07
from benchmarks.datasets.reading.folders import images_below, owners_above
from benchmarks.datasets.splits import ImageSplit
from pretrain.images import read_images
from slurm.errors import UserError

Touch = Callable[..., None]
Write = Callable[[str, str], Path]

FOREIGN = (
    "@eaDir",
    "@EADIR",
    "#recycle",
    "@__thumb",
    "__MACOSX",
    "lost+found",
    "$RECYCLE.BIN",
    "System Volume Information",
    "__pycache__",
    ".ipynb_checkpoints",
    ".git",
    ".snapshot",
    ".Trash-1000",
    ".AppleDouble",
    ".@__thumb",
)


@pytest.fixture
def folders(tmp_path: Path, touch_images: Touch) -> Path:
    touch_images("train/n01/a.jpg", "train/n01/deep/b.jpg", "train/n02/c.jpg")
    touch_images("val/n01/d.jpg", "val/n02/e.jpg")
    return tmp_path


def read(folder: Path) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...], tuple[str, ...]]:
    """Paths of both splits, the classes, and what pretraining reads of train/ alone."""
    splits = imagenet.load(folder).splits
    paths = {name: split.paths for name, split in splits.items()}
    return paths, splits["train"].classes, read_images(folder / "train").paths


@pytest.mark.parametrize("name", FOREIGN)
def test_what_servers_and_desktops_leave_is_passed_over(
    folders: Path, touch_images: Touch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read(folders)
    for place in ("train", "train/n01", "train/n01/deep", "val", "val/n02"):
        touch_images(f"{place}/{name}/thumb.jpg", f"{place}/{name}/a.jpg/SMALL.jpg")
        (folders / place / "._a.jpg").write_bytes(b"\0\5\x16\7")
        (folders / place / ".DS_Store").write_bytes(b"x")
        (folders / place / "Thumbs.db").write_bytes(b"x")
    assert read(folders) == before
    assert before[1] == ("n01", "n02")
    assert before[2] == ("n01/a.jpg", "n01/deep/b.jpg", "n02/c.jpg")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["_background_", "BACKGROUND_Google", "CVS", "lost", "macosx"])
def test_what_might_be_a_class_is_one(folders: Path, touch_images: Touch, name: str) -> None:
    touch_images(f"train/{name}/a.jpg")
    assert name in imagenet.load(folders).splits["train"].classes


@pytest.mark.parametrize("name", [".net", ".hidden"])
@pytest.mark.parametrize("place", ["train", "train/n01"])
def test_a_hidden_folder_of_images_is_not_passed_over_in_silence(
    folders: Path,
    touch_images: Touch,
    name: str,
    place: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = read(folders)
    touch_images(f"{place}/{name}/deep/a.jpg")
    assert read(folders) == before
    assert f"note: hidden folders are passed over, though they hold images: {folders / place}" in (
        capsys.readouterr().err
    )


def test_an_odd_name_is_a_class_with_a_note(
    folders: Path, touch_images: Touch, capsys: pytest.CaptureFixture[str]
) -> None:
    touch_images("train/@home/a.jpg")
    assert "@home" in imagenet.load(folders).splits["train"].classes
    assert "@home taken for class folders" in capsys.readouterr().err


def test_files_of_apple_are_no_classes_of_voc(tmp_path: Path, touch_images: Touch) -> None:
    touch_images("JPEGImages/1.jpg", "JPEGImages/2.jpg")
    main = tmp_path / "ImageSets/Main"
    main.mkdir(parents=True)
    for image, split in (("1", "trainval"), ("2", "test")):
        (main / f"{split}.txt").write_text(f"{image}\n")
        (main / f"cat_{split}.txt").write_text(f"{image} 1\n")
        (main / f"._cat_{split}.txt").write_bytes(b"\0\5\x16\7\0\2")
    assert voc07.load(tmp_path).splits["test"].classes == ("cat",)


@pytest.mark.parametrize(
    "path", ["n01/._a.jpg", "n01/@eaDir/a.jpg/THUMB.jpg", "__MACOSX/n01/._a.jpg", "#recycle/a.jpg"]
)
def test_a_list_of_what_is_no_image_is_refused(folders: Path, write: Write, path: str) -> None:
    write("meta/train.txt", f"n01/a.jpg 0\n{path} 0\nn02/c.jpg 1\n")
    with pytest.raises(UserError, match=r"train\.txt names .* and no image"):
        imagenet.load(folders)


LINKS: dict[str, Callable[[Path], None]] = {
    "to itself": lambda root: (root / "train/n01/x").symlink_to("x"),
    "to its folder": lambda root: (root / "train/n01/x").symlink_to("."),
    "to the folder above": lambda root: (root / "train/n01/deep/x").symlink_to(".."),
    "to the root": lambda root: (root / "train/n01/x").symlink_to(".."),
    "above the root": lambda root: (root / "train/n02/x").symlink_to("../.."),
    "absolute": lambda root: (root / "train/n02/x").symlink_to(root.resolve()),
    "a second name": lambda root: (root / "train/n01/also").symlink_to("deep"),
    "two in a circle": lambda root: [
        (root / "train/n01/x").symlink_to("y"),
        (root / "train/n01/y").symlink_to("x"),
    ][0],
}


@pytest.mark.parametrize("link", LINKS)
def test_every_folder_is_read_once(folders: Path, link: str) -> None:
    before = read(folders)
    LINKS[link](folders)
    assert read(folders) == before


def test_links_to_other_places_are_followed(folders: Path, touch_images: Touch) -> None:
    touch_images("store/n03/f.jpg", "store/more/g.jpg")
    (folders / "train/n03").symlink_to("../store/n03")
    (folders / "train/n01/more").symlink_to("../../store/more")
    paths, classes, flat = read(folders)
    assert paths["train"] == (
        *("n01/a.jpg", "n01/deep/b.jpg", "n01/more/g.jpg", "n02/c.jpg", "n03/f.jpg"),
    )
    assert classes == ("n01", "n02", "n03")
    assert flat == paths["train"]


SHARED: dict[str, tuple[str, str]] = {
    "two classes": ("train/n03", "n01"),
    "a class within another": ("train/n02/x", "../n01"),
    "part of a class": ("train/n02/x", "../n01/deep"),
    "a class of the other split": ("val/n03", "../train/n01"),
    "part of the other split": ("val/n02/x", "../../train/n01/deep"),
    "the folder above as a class": ("train/n03", ".."),
}


@pytest.mark.parametrize("kind", SHARED)
def test_a_folder_of_two_classes_is_refused(folders: Path, kind: str) -> None:
    link, target = SHARED[kind]
    (folders / link).symlink_to(target)
    with pytest.raises(UserError, match=r"read twice") as caught:
        imagenet.load(folders)
    assert str(folders / link) in str(caught.value)


def test_val_that_is_train_is_refused(tmp_path: Path, touch_images: Touch, write: Write) -> None:
    touch_images("train/n01/a.jpg", "train/n02/b.jpg")
    (tmp_path / "val").symlink_to("train")
    with pytest.raises(UserError, match="are the same folder"):
        imagenet.load(tmp_path)
    for split in ("train", "val"):
        write(f"meta/{split}.txt", "n01/a.jpg 0\nn02/b.jpg 1\n")
    with pytest.raises(UserError, match="are the same folder"):
        imagenet.load(tmp_path)


def test_a_class_behind_a_broken_link_is_missed(folders: Path) -> None:
    (folders / "train/n03").symlink_to("../elsewhere/n03")
    with pytest.raises(UserError, match=r"train/n03 is a link that leads nowhere"):
        imagenet.load(folders)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8))
def test_no_links_among_folders_read_an_image_twice(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[int, int]]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    nodes = [root, root / "a", root / "a/b", root / "a/b/c", root / "d", root / "d/e", root / "f"]
    for node in nodes:
        node.mkdir(exist_ok=True)
        (node / "image.jpg").touch()
    for number, (where, target) in enumerate(links):
        (nodes[where] / f"link{number}").symlink_to(nodes[target])
    found = images_below(root, str(root), owners_above(root))
    assert sorted(found) == sorted(str((node / "image.jpg").relative_to(root)) for node in nodes)


@pytest.mark.parametrize("split", ["train", "val"])
def test_flat_images_ask_for_a_list(tmp_path: Path, touch_images: Touch, split: str) -> None:
    touch_images("train/n01/a.jpg", "val/n01/b.jpg")
    for file in list((tmp_path / split / "n01").iterdir()):
        file.rename(tmp_path / split / file.name)
    (tmp_path / split / "n01").rmdir()
    with pytest.raises(UserError, match=rf"give their classes in .*/meta/{split}\.txt"):
        imagenet.load(tmp_path)


def _folder(path: Path) -> None:
    path.mkdir()


def _broken_link(path: Path) -> None:
    path.symlink_to("nowhere.txt")


KINDS = {"folder": _folder, "broken link": _broken_link, "pipe": os.mkfifo}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["train.txt", "train_labeled.txt", "val.txt"])
def test_what_has_the_name_of_a_list_must_be_one(folders: Path, kind: str, name: str) -> None:
    (folders / "meta").mkdir()
    KINDS[kind](folders / "meta" / name)
    with pytest.raises(UserError, match=rf"meta/{name}.* it should be a list of images"):
        imagenet.load(folders)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("load", "name"),
    [
        (places205.load, "trainvalsplit_places205/train_places205.csv"),
        (inaturalist18.load, "train2018.json"),
        (inaturalist18.load, "meta/train.txt"),
    ],
)
def test_lists_of_the_other_datasets_too(
    tmp_path: Path, kind: str, load: Callable[[Path], object], name: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    KINDS[kind](tmp_path / name)
    with pytest.raises(UserError, match="it should be a list of images"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["trainval.txt", "cat_test.txt"])
def test_a_pipe_among_the_lists_of_voc_is_not_waited_for(
    tmp_path: Path, touch_images: Touch, name: str
) -> None:
    touch_images("JPEGImages/1.jpg", "JPEGImages/2.jpg")
    main = tmp_path / "ImageSets/Main"
    main.mkdir(parents=True)
    for image, split in (("1", "trainval"), ("2", "test")):
        (main / f"{split}.txt").write_text(f"{image}\n")
        (main / f"cat_{split}.txt").write_text(f"{image} 1\n")
    (main / name).unlink()
    os.mkfifo(main / name)
    with pytest.raises(UserError, match=rf"{name}: it is a pipe, where a file is expected"):
        voc07.load(tmp_path)


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("kind", ["broken link", "file"])
def test_pretraining_does_not_take_all_for_a_missing_train(
    folders: Path, part: str, kind: str
) -> None:
    (folders / part).rename(folders / "moved")
    if kind == "file":
        (folders / part).write_text("")
    else:
        (folders / part).symlink_to("nowhere")
    with pytest.raises(UserError, match=rf"/{part} is no folder, or a link that leads to none"):
        read_images(folders)


def test_names_that_are_not_utf8_are_named(folders: Path) -> None:
    (folders / "train/n01/a.jpg").rename(os.fsdecode(bytes(folders / "train/n01") + b"/\xe9.jpg"))
    for split in (imagenet.load(folders).splits["train"], read_images(folders / "train")):
        with pytest.raises(UserError, match=r"\\xe9\.jpg' below .* is not UTF-8: rename it"):
            split.fingerprint()


def test_a_fingerprint_of_names_in_other_scripts_is_fine(folders: Path) -> None:
    (folders / "train/n01/a.jpg").rename(folders / "train/n01/日本.jpg")
    split: ImageSplit = imagenet.load(folders).splits["train"]
    assert split.fingerprint().images == 3


@pytest.mark.parametrize("length", [300, 5000])
def test_a_name_too_long_for_any_file_is_one_line(tmp_path: Path, length: int) -> None:
    for load in (imagenet.load, places205.load, inaturalist18.load, voc07.load, read_images):
        with pytest.raises(UserError, match="File name too long"):
            load(tmp_path / ("x" * length))


def test_files_that_are_not_read_are_counted_said_once_and_noted(
    folders: Path, touch_images: Touch, capsys: pytest.CaptureFixture[str]
) -> None:
    touch_images("train/n01/x.gif", "train/n02/deep/y.GIF", "train/z.jpg", "train/n02/.w/h.jpg")
    for name in ("n01/p.avif", "n01/p.heic", "n01/q.jp2", "n02/list.txt", "n02/no_ending"):
        (folders / "train" / name).touch()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.gif", ".hidden.gif"):
        (folders / "train/n01" / name).touch()
    dataset = imagenet.load(folders)
    assert len(dataset.splits["train"].paths) == 3
    counts = (
        "2 .gif, 1 .avif, 1 .heic, 1 .jp2, 1 .txt, 1 hidden folders of images, "
        "1 images beside the class folders, 1 no ending"
    )
    (note,) = dataset.notes
    assert note.startswith("passed over in train, of which only files that end like an image are")
    assert note.endswith(f": {counts}")
    said = capsys.readouterr().err
    assert said.count("passed over in") == 1
    assert f"note: passed over in {folders / 'train'}, of which" in said


def test_pretraining_says_what_it_passes_over(
    folders: Path, touch_images: Touch, capsys: pytest.CaptureFixture[str]
) -> None:
    touch_images("train/n01/x.gif", "train/n01/y.gif")
    assert len(read_images(folders / "train").paths) == 3
    assert capsys.readouterr().err.rstrip().endswith(": 2 .gif")


def test_many_kinds_of_files_are_cut_short(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        (folders / f"val/n01/a.{'x' * 50}{number:02}").touch()
        (folders / f"val/n01/a.e{number:02}").touch()
    (note,) = imagenet.load(folders).notes
    assert note.endswith("1 .e06 and 23 other kinds")
    assert len(note) < 300


@pytest.mark.parametrize("read", [imagenet.load, lambda folder: read_images(folder / "train/n01")])
def test_a_folder_of_other_files_alone_says_which(
    folders: Path, touch_images: Touch, read: Callable[[Path], object]
) -> None:
    touch_images("train/n02/ok.gif", "train/n01/x.gif", "train/n01/y.gif")
    for name in ("a.jpg", "deep/b.jpg"):
        (folders / "train/n01" / name).unlink()
    with pytest.raises(UserError, match=r"train/n01 holds no image \(.*\) but 2 \.gif; "):
        read(folders)
