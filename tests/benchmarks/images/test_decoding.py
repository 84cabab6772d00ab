"""Decoding: every mode and depth, and files that are no images."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.images.decoding import open_image
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
    with pytest.raises(UserError, match=r"huge\.png is damaged or not an image"):
        open_image(tmp_path / "huge.png")


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jpg does not exist; complete the images"):
        open_image(tmp_path / "absent.jpg")
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        open_image(tmp_path)
