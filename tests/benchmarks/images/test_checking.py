"""`--check-images`: what a decoder makes up in silence is counted and recorded."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import results
from benchmarks.catalog.records import read_record
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.commands import checks_of
from benchmarks.datasets.loading import fingerprints, load_dataset
from benchmarks.images.checking import (
    UNSEEN,
    Checked,
    Findings,
    check_file,
    check_items,
    check_notes,
    jpeg_warning,
    png_warning,
)
from benchmarks.images.decoding import Encoded, open_image
from benchmarks.protocols import ImageTransform
from benchmarks.svm.full_item import VocSvm
from benchmarks.svm.source import trunk_source
from slurm.errors import UserError
from slurm.sweep import items_to_run
from tests.benchmarks.images.pictures import photo
from tests.benchmarks.voc_data import make_trunk, write_voc

SMALL = replace(
    VOC07_SVM,
    name="test_voc07_svm",
    image=ImageTransform(crop=32, resize=32),
    pooled_size=64,
    costs=(0.1, 1.0),
)


def damaged_within(seed: int = 0) -> bytes:
    """A JPEG file whose codes end early: libjpeg fills the rest with grey, PIL says nothing."""
    buffer = io.BytesIO()
    photo(64, 48, seed=seed).save(buffer, "jpeg", quality=90)
    content = bytearray(buffer.getvalue())
    middle = 3 * len(content) // 4
    content[middle : middle + 2] = b"\xff\xd9"  # an end of image before its end
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB")
    return bytes(content)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    load_dataset.cache_clear()
    fingerprints.cache_clear()
    folder = write_voc(tmp_path / "VOC2007")
    for number in (3, 7):
        (folder / f"JPEGImages/{number:06d}.jpg").write_bytes(damaged_within(number))
    return folder


def test_a_warning_of_the_header_is_a_warning() -> None:
    """Not taken for a kind that cannot be judged."""
    buffer = io.BytesIO()
    photo(64, 48).convert("L").save(buffer, "jpeg")
    content = bytearray(buffer.getvalue())
    table = content.find(b"\xff\xc4")
    content[table:table] = bytes(33)
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB")
    assert jpeg_warning(bytes(content)).startswith("Corrupt JPEG data: 33 extraneous bytes")


def test_libjpeg_is_heard_and_stderr_is_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    assert jpeg_warning(damaged_within()).startswith("Corrupt JPEG data")
    buffer = io.BytesIO()
    photo(64, 48).save(buffer, "jpeg")
    assert jpeg_warning(buffer.getvalue()) == ""
    assert jpeg_warning(b"\x89PNG") == ""
    assert capfd.readouterr().err == ""
    print("afterwards", file=sys.stderr)
    assert capfd.readouterr().err == "afterwards\n"


def rare_jpeg(*samplings: int) -> bytes:
    """A sound JPEG file of RGB whose components are said to be sampled so."""
    width, height = (8 * max(one >> 4 for one in samplings), 8 * max(one & 15 for one in samplings))
    blocks = sum((one >> 4) * (one & 15) for one in samplings)
    buffer = io.BytesIO()
    # As many blocks of one colour as the samplings take, one after the other in the one scan.
    grey = Image.new("RGB", (8 * -(-blocks // 3), 8), (90, 90, 90))
    grey.save(buffer, "jpeg", keep_rgb=True, subsampling=0)
    content = bytearray(buffer.getvalue())
    frame = content.find(b"\xff\xc0")
    content[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    for number, one in enumerate(samplings):
        content[frame + 11 + 3 * number] = one
    return bytes(content)


@pytest.mark.parametrize("samplings", [(0x14, 0x11, 0x11), (0x42, 0x11, 0x11), (0x11, 0x41, 0x41)])
def test_a_kind_that_only_pil_decodes_is_not_called_damaged(
    samplings: tuple[int, ...], tmp_path: Path
) -> None:
    content = rare_jpeg(*samplings)
    (tmp_path / "x.jpg").write_bytes(content)
    encoded = Encoded(tmp_path / "x.jpg")
    expected = np.asarray(open_image(tmp_path / "x.jpg"))
    assert np.array_equal(encoded.tensor().permute(1, 2, 0).numpy(), expected)
    assert jpeg_warning(content) == UNSEEN
    found = Findings()
    found.enter("x.jpg", *check_file(str(tmp_path / "x.jpg")))
    assert (found.warned, found.unseen) == (0, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_is_counted_once_a_dataset(voc: Path, tmp_path: Path, workers: int) -> None:
    splits = fingerprints("voc07", voc)
    items = check_items(tmp_path, "voc07", voc, splits, workers)
    assert check_notes(tmp_path, "voc07", splits) == ()
    for item in items:
        item.run()
        assert item.done()
    found = results.read(items[0].result, Checked)
    assert (found.images, found.warned) == (24, 2)
    assert list(found.files) == ["000003.jpg", "000007.jpg"]
    assert results.read(items[1].result, Checked) == Checked(10, 0, {})
    (note,) = check_notes(tmp_path, "voc07", splits)
    assert note.startswith("2 of 24 images of trainval may be damaged within")
    assert "000003.jpg: Corrupt JPEG data" in note


def test_images_that_cannot_be_decoded_are_all_found_at_once(voc: Path, tmp_path: Path) -> None:
    for number in (501, 502):
        (voc / f"JPEGImages/{number:06d}.jpg").write_bytes(b"Not found")
    (_, test) = check_items(tmp_path, "voc07", voc, fingerprints("voc07", voc), 0)
    with pytest.raises(UserError, match=r"2 of 10 images of test .*000501\.jpg.*000502\.jpg"):
        test.run()
    assert not test.done()


def test_the_record_says_what_the_check_found(voc: Path, tmp_path: Path) -> None:
    trunk = replace(make_trunk(tmp_path / "zoo", "random:resnet18"), check_images=True)
    goal = VocSvm(trunk_source(trunk, voc, SMALL, ("feature5",)), SMALL)
    items = items_to_run([goal])
    assert [item.stage for item in items] == ["check", "check", "extract", "voc_svm", "collect"]
    for item in items:
        item.run()
    record = read_record(goal.result)
    assert record.notes[0].startswith("2 of 24 images of trainval may be damaged within")
    # a check that is asked for when all else is done still runs
    for item in checks_of([goal]):
        item.result.unlink()  # type: ignore[attr-defined]
    assert [item.stage for item in items_to_run([*checks_of([goal]), goal])] == ["check", "check"]
    assert np.isfinite(record.layers["feature5"].map)  # type: ignore[attr-defined]


def test_the_check_changes_no_name_of_a_result(voc: Path, tmp_path: Path) -> None:
    plain = make_trunk(tmp_path / "zoo", "random:resnet18")
    names = {
        VocSvm(trunk_source(trunk, voc, SMALL, ("feature5",)), SMALL).result
        for trunk in (plain, replace(plain, check_images=True))
    }
    assert len(names) == 1


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
def test_a_png_whose_checksums_fit_is_sound_and_one_flipped_byte_is_heard(mode: str) -> None:
    """PIL decodes most of the damaged ones without a word."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24), dtype=np.uint8)
    picture = Image.fromarray(pixels.astype(np.uint16) if mode == "I;16" else pixels)
    file = io.BytesIO()
    (picture if mode == "I;16" else picture.convert(mode)).save(file, "png")
    content = file.getvalue()
    assert png_warning(content) == ""
    for place in range(16, len(content) - 12):
        damaged = bytearray(content)
        damaged[place] ^= 1
        assert "PNG" in png_warning(bytes(damaged)), place
    for length in range(8, len(content)):
        assert "PNG" in png_warning(content[:length]), length
    assert png_warning(b"GIF89a" + content) == ""
