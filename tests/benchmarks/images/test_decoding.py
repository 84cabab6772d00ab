"""Decoding: every mode and depth, and files that are no images."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import load_batches
from benchmarks.images.decoding import decode_image, open_image
from benchmarks.images.transforms import build_transform
from slurm.errors import UserError
from tests.benchmarks.images.pictures import photo


def _bytes(picture: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "1", "RGBA", "LA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    form = "jpeg" if mode in ("RGB", "L", "CMYK") else "png"
    picture = photo(20, 10).convert(mode)
    picture.save(tmp_path / "x", form)
    decoded = open_image(tmp_path / "x")
    assert (decoded.mode, decoded.size) == ("RGB", (20, 10))
    with Image.open(tmp_path / "x") as expected:
        assert np.array_equal(np.asarray(decoded), np.asarray(expected.convert("RGB")))


SIXTEEN = np.linspace(0, 65535, 20 * 10).round().astype(np.uint16).reshape(10, 20)


def _write_png(path: Path) -> None:
    Image.fromarray(SIXTEEN).save(path, format="png")
    assert path.read_bytes()[24] == 16  # its bits per sample


def _write_big_endian_tiff(path: Path) -> None:
    image = Image.frombytes("I;16B", (20, 10), SIXTEEN.astype(">u2").tobytes())
    image.save(path, format="tiff")
    assert path.read_bytes()[:2] == b"MM"


SIXTEEN_BITS: dict[str, Callable[[Path], object]] = {
    "png": _write_png,
    "little-endian tiff": lambda path: Image.fromarray(SIXTEEN).save(path, "tiff"),
    "big-endian tiff": _write_big_endian_tiff,
    "pgm": lambda path: path.write_bytes(b"P5 20 10 65535\n" + SIXTEEN.astype(">u2").tobytes()),
    "32-bit tiff": lambda path: Image.fromarray(SIXTEEN.astype(np.int32)).save(path, "tiff"),
}


@pytest.mark.parametrize("kind", list(SIXTEEN_BITS))
def test_grey_of_sixteen_bits_is_scaled_not_clipped(tmp_path: Path, kind: str) -> None:
    SIXTEEN_BITS[kind](tmp_path / "deep")
    decoded = np.asarray(open_image(tmp_path / "deep"))
    assert decoded.shape == (10, 20, 3)
    expected = np.round(SIXTEEN / 65535 * 255)
    assert np.array_equal(decoded, np.repeat(expected[..., None], 3, axis=2))


def test_a_dark_png_of_sixteen_bits_is_dark(tmp_path: Path) -> None:
    Image.fromarray(SIXTEEN // 400).save(tmp_path / "dark.png")  # no value above 163
    assert np.asarray(open_image(tmp_path / "dark.png")).max() == 1


def test_integers_of_eight_bits_stay_and_floats_are_refused(tmp_path: Path) -> None:
    small = (SIXTEEN // 257).astype(np.int32)
    Image.fromarray(small).save(tmp_path / "small.tif")
    assert np.array_equal(np.asarray(open_image(tmp_path / "small.tif"))[..., 0], small)
    Image.fromarray(SIXTEEN.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match=r"float\.tif has floating-point pixels"):
        open_image(tmp_path / "float.tif")


def test_a_png_named_jpeg_decodes(tmp_path: Path) -> None:
    """As n02105855_2933.JPEG of ImageNet is."""
    photo(20, 10).save(tmp_path / "x.JPEG", "png")
    assert open_image(tmp_path / "x.JPEG").size == (20, 10)


PNG, JPEG = _bytes(photo(64, 48), "png"), _bytes(photo(64, 48), "jpeg")
DAMAGED = {
    "jpeg cut in the middle": JPEG[: len(JPEG) // 2],
    "jpeg without its last bytes": JPEG[:-40],
    "jpeg header only": JPEG[:30],
    "png cut in the middle": PNG[: len(PNG) // 2],
    "png header only": PNG[:20],
    "png with a damaged chunk": PNG[:200] + bytes(50) + PNG[250:],
    "png with a damaged header": PNG[:20] + bytes(8) + PNG[28:],
    "empty": b"",
    "text": b"Not found\n",
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_image_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "broken.jpg").write_bytes(DAMAGED[kind])
    with pytest.raises(UserError, match=r"broken\.jpg is damaged or not an image") as caught:
        open_image(tmp_path / "broken.jpg")
    assert "\n" not in str(caught.value)
    assert "replace the file" in str(caught.value)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(64, 48).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"huge\.png is too large .*limit of 200 pixels"):
        open_image(tmp_path / "huge.png")


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jpg does not exist; complete the images"):
        open_image(tmp_path / "absent.jpg")
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        open_image(tmp_path)


def _many_texts(info: PngInfo) -> None:
    for number in range(70):
        info.add_text(f"note{number}", "x" * 1_000_000, zip=True)


TEXTS: dict[str, Callable[[PngInfo], None]] = {
    "3 MB packed": lambda info: info.add_text("note", "x" * 3_000_000, zip=True),
    "3 MB international": lambda info: info.add_itxt("note", "x" * 3_000_000, zip=True),
    "70 MB in all": _many_texts,
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_png_with_more_text_than_pil_reads_is_the_same_picture(tmp_path: Path, text: str) -> None:
    info = PngInfo()
    TEXTS[text](info)
    photo(30, 20).save(tmp_path / "wordy.png", pnginfo=info)
    photo(30, 20).save(tmp_path / "plain.png")
    with pytest.raises(ValueError, match="MAX_TEXT_"):
        Image.open(tmp_path / "wordy.png").load()
    assert np.array_equal(open_image(tmp_path / "wordy.png"), open_image(tmp_path / "plain.png"))


def test_a_png_with_a_large_profile_is_read_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    photo(30, 20).save(tmp_path / "x.png", icc_profile=bytes(3_000_000))
    assert np.array_equal(open_image(tmp_path / "x.png"), photo(30, 20))
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[: len(content) - 400])
    with pytest.raises(UserError, match=r"x\.png is damaged or not an image"):
        open_image(tmp_path / "x.png")


def test_warnings_name_the_file(tmp_path: Path) -> None:
    tag = struct.pack("<HHHII", 1, 0x011A, 5, 1, 5000)  # a resolution beyond the end of the data
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + tag
    photo(20, 10).save(tmp_path / "x.jpg", exif=exif)
    with pytest.warns(UserWarning, match=r"x\.jpg: Truncated File Read"):
        open_image(tmp_path / "x.jpg")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(UserError, match=r"x\.jpg: it is a pipe, where a file is expected"):
        open_image(tmp_path / "x.jpg")


def test_a_link_that_leads_nowhere_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(UserError, match=r"x\.jpg is a link that leads nowhere; complete"):
        open_image(tmp_path / "x.jpg")


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (2, 120_000)])
def test_a_thin_image_whose_resize_takes_gigabytes_is_named(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("RGB", size).save(tmp_path / "thin.png")
    split = ImageSplit(tmp_path, ("thin.png",), np.zeros(1, dtype=np.int64), ())
    for spec in (VOC07_SVM.image, IMAGENET_LINEAR.test):
        transform = build_transform(spec, (0, 0, 0), (1, 1, 1))
        batches = load_batches(split, transform, np.arange(1), batch_size=1, seed=0, epoch=0)
        with pytest.raises(UserError, match=r"thin\.png: an image of .* would be resized to 3,9"):
            next(batches)


def test_a_long_image_is_still_read(tmp_path: Path) -> None:
    transform = build_transform(VOC07_SVM.image, (0, 0, 0), (1, 1, 1))
    assert transform(photo(10, 2000)).shape == (3, 224, 224)


@pytest.mark.parametrize("content", [b"Not found", b"", b"GIF89a", b"\xff\xd8\xff\xe0" * 9])
@pytest.mark.parametrize("name", ["a.jpg", "a <odd> b.jpg"])
def test_what_is_no_image_is_named_once_and_by_its_file_alone(
    tmp_path: Path, content: bytes, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (lambda: open_image(path), lambda: decode_image(io.BytesIO(content), path)):
        with pytest.raises(UserError) as caught:
            read()
        message = str(caught.value)
        assert "_io." not in message
        assert message.count(name) == 1
        assert message.endswith("); replace the file")
