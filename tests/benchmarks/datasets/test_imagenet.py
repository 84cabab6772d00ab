"""ImageNet by lists and by folders, as torchvision's ImageFolder reads them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from benchmarks.datasets import imagenet
from benchmarks.datasets.loading import load_dataset, require_classes
from slurm.errors import UserError

Touch = Callable[..., None]
Write = Callable[[str, str], Path]


@pytest.fixture
def folders(tmp_path: Path, touch_images: Touch) -> Path:
    touch_images("train/n02/b.jpg", "train/n02/a.PNG", "train/n01/deep/x.jpg", "train/n01/z.jpg")
    touch_images("val/n02/q.jpg", "val/n01/p.jpg")
    return tmp_path


def test_folders_read_as_torchvision_reads_them(folders: Path) -> None:
    (folders / "train/n01/notes.txt").write_text("not an image")
    references = {name: ImageFolder(folders / name) for name in ("train", "val")}
    (folders / "train/.cache").mkdir()
    dataset = imagenet.load(folders)
    for name, split in dataset.splits.items():
        reference = references[name]
        assert split.classes == tuple(reference.classes)
        read = sorted(zip([str(split.root / path) for path in split.paths], split.labels.tolist()))
        assert read == sorted(reference.samples)
    assert dataset.splits["train"].paths == (
        "n01/z.jpg",
        "n01/deep/x.jpg",
        "n02/a.PNG",
        "n02/b.jpg",
    )


def test_lists_are_preferred_to_folders_and_labelled_ones_to_others(
    folders: Path, write: Write
) -> None:
    write("meta/train.txt", "n02/b.jpg\n")  # OpenSelfSup's unlabelled list
    write("meta/train_labeled.txt", "n02/b.jpg 0\nn01/z.jpg 1\n")
    dataset = imagenet.load(folders)
    assert dataset.splits["train"].paths == ("n02/b.jpg", "n01/z.jpg")
    assert dataset.splits["train"].classes == ("n02", "n01")
    # The validation folders follow the list's numbering, not the alphabet.
    assert dataset.splits["val"].paths == ("n01/p.jpg", "n02/q.jpg")
    assert dataset.splits["val"].labels.tolist() == [1, 0]


def test_val_may_be_flat(tmp_path: Path, touch_images: Touch, write: Write) -> None:
    touch_images("train/n01/a.jpg", "train/n02/b.jpg", "val/ILSVRC2012_val_00000001.png")
    write("meta/train.txt", "n01/a.jpg 0\nn02/b.jpg 1\n")
    write("meta/val.txt", "ILSVRC2012_val_00000001.png 1\n")
    dataset = imagenet.load(tmp_path)
    assert dataset.splits["val"].classes == ("n01", "n02")
    assert dataset.splits["val"].labels.tolist() == [1]


def test_a_list_whose_images_are_elsewhere_is_refused(folders: Path, write: Write) -> None:
    write("meta/val.txt", "ILSVRC2012_val_00000001.JPEG 1\n")
    message = r"val\.txt names ILSVRC2012_val_00000001\.JPEG, which is in none of: .*/val; .*remove"
    with pytest.raises(UserError, match=message):
        imagenet.load(folders)


def test_an_unlabelled_list_alone_is_refused(folders: Path, write: Write) -> None:
    write("meta/train.txt", "n02/b.jpg\nn01/z.jpg\n")
    with pytest.raises(UserError, match=r"meta/train\.txt line 1 has no label: 'n02/b\.jpg'"):
        imagenet.load(folders)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: (root / "val/n03").mkdir(), r"val/n03 is not a class of the training list"),
        (lambda root: (root / "train/n00").mkdir(), r"class folder .*train/n00 holds no image"),
        (lambda root: (root / "val").rename(root / "validation"), r"/val does not exist"),
        (lambda root: (root / "meta").mkdir(), None),
    ],
    ids=["unknown class", "empty class", "no val", "empty meta is fine"],
)
def test_wrong_folders(
    folders: Path, prepare: Callable[[Path], object], message: str | None
) -> None:
    prepare(folders)
    if message is None:
        assert len(imagenet.load(folders).splits["train"].paths) == 4
    else:
        with pytest.raises(UserError, match=message):
            imagenet.load(folders)


def test_no_class_folders(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"train has no class folders; it should hold one for each"):
        imagenet.load(tmp_path)


@pytest.mark.parametrize("listed", [("train",), ("val",), ("train", "val")])
def test_a_class_folder_of_both_splits_is_refused_with_lists_too(
    folders: Path, write: Write, listed: tuple[str, ...]
) -> None:
    (folders / "val/n01/p.jpg").unlink()
    (folders / "val/n01").rmdir()
    (folders / "val/n01").symlink_to("../train/n01")
    lines = {"train": "n01/z.jpg 0\nn02/b.jpg 1\n", "val": "n01/z.jpg 0\nn02/q.jpg 1\n"}
    for split in listed:
        write(f"meta/{split}.txt", lines[split])
    with pytest.raises(UserError, match=r"val/n01 and .*train/n01 are the same folder"):
        imagenet.load(folders)


def test_a_probe_needs_two_classes_and_says_which_are_not_validated(
    folders: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("meta/val.txt", "n01/p.jpg 0\n")
    require_classes("imagenet", folders)
    assert "have none of 1 of the 2 classes that are trained on" in capsys.readouterr().err
    write("meta/train.txt", "n01/z.jpg 0\n")
    require_classes.cache_clear()
    load_dataset.cache_clear()
    with pytest.raises(UserError, match="are all of one class"):
        require_classes("imagenet", folders)
