"""The upper part of a JPEG: the pixels of the whole, or no part at all."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import load_batches
from benchmarks.images.decoding import Encoded, decode_image, open_image
from benchmarks.images.jpeg import Jpeg
from benchmarks.images.transforms import build_transform
from slurm.errors import UserError
from tests.benchmarks.images.pictures import photo


def _content(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", **options)
    return buffer.getvalue()


def _pixels(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode_image(io.BytesIO(content), Path("x.jpg")))


SAMPLED = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(8, 70),
    height=st.integers(8, 150),
    rows=st.integers(1, 150),
    sampled=st.sampled_from(list(SAMPLED)),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    quality=st.integers(40, 98),
)
def test_the_upper_rows_are_those_of_the_whole(
    width: int, height: int, rows: int, sampled: str, mode: str, quality: int
) -> None:
    options = {"subsampling": SAMPLED[sampled]} if mode == "RGB" else {}
    content = _content(photo(width, height).convert(mode), quality=quality, **options)
    jpeg = Jpeg.of(content)
    assert jpeg is not None
    assert (jpeg.width, jpeg.height) == (width, height)
    rows = min(rows, height)
    upper = _pixels(jpeg.upper(rows))
    assert rows <= len(upper) <= rows + 4
    assert np.array_equal(upper[:rows], _pixels(content)[:rows])


def test_no_row_is_smoothed_with_one_that_is_missing() -> None:
    """Of an image whose colours jump from row to row, and are kept for every second one."""
    noise = np.random.default_rng(0).integers(0, 256, (70, 40, 3), dtype=np.uint8)
    content = _content(Image.fromarray(noise), quality=95, subsampling=2)
    jpeg, whole = Jpeg.of(content), _pixels(content)
    assert jpeg is not None
    for rows in range(1, 71):
        assert np.array_equal(_pixels(jpeg.upper(rows))[:rows], whole[:rows])


WHOLE = {
    "progressive": _content(photo(60, 90), progressive=True),
    "with restarts": _content(photo(60, 90), restart_marker_blocks=2),
    "cut": _content(photo(60, 90))[:-9],
    "with more at its end": _content(photo(60, 90)) + b"\n",
    "png": b"\x89PNG\r\n\x1a\n",
    "empty": b"",
    "its ends": b"\xff\xd8\xff\xd9",
    "ended before the scan": _content(photo(60, 90))[:300] + b"\xff\xd9",
}


def _filled(content: bytes) -> bytes:
    """With a byte before its second marker that fills, and means nothing."""
    length = int.from_bytes(content[4:6], "big")
    return content[: 4 + length] + b"\xff" + content[4 + length :]


WHOLE["filled"] = _filled(_content(photo(60, 90)))


def test_a_byte_that_fills_changes_nothing() -> None:
    content = _content(photo(60, 90))
    assert np.array_equal(_pixels(_filled(content)), _pixels(content))


def test_more_rows_than_libjpeg_takes_are_refused_whatever_is_drawn(tmp_path: Path) -> None:
    content = bytearray(_content(photo(48, 64)))
    jpeg = Jpeg.of(bytes(content))
    assert jpeg is not None
    for rows, known in ((65_500, True), (65_501, False)):
        content[jpeg.height_at : jpeg.height_at + 2] = rows.to_bytes(2, "big")
        assert (Jpeg.of(bytes(content)) is not None) is known
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.jpg is damaged or not an image"):
        Encoded(tmp_path / "x.jpg").image(rows=20)


@pytest.mark.parametrize("size", [(1, 1), (90, 1), (1, 90), (5, 17)])
def test_the_smallest_images_have_an_upper_part_too(size: tuple[int, int]) -> None:
    content = _content(photo(*size), subsampling=2)
    jpeg = Jpeg.of(content)
    assert jpeg is not None
    assert np.array_equal(_pixels(jpeg.upper(1))[:1], _pixels(content)[:1])


@pytest.mark.parametrize("kind", WHOLE)
def test_what_must_be_decoded_whole_has_no_upper_part(kind: str) -> None:
    assert Jpeg.of(WHOLE[kind]) is None


def test_a_marker_among_the_codes_is_damage_in_whichever_row(tmp_path: Path) -> None:
    """It is an error of the decoder's, also where no row of it is wanted."""
    content = _content(photo(300, 400), quality=95)
    place = len(content) - 200
    (tmp_path / "x.jpg").write_bytes(content[:place] + b"\xff\xc0" + content[place + 2 :])
    assert Jpeg.of((tmp_path / "x.jpg").read_bytes()) is None
    with pytest.raises(UserError, match=r"x\.jpg is damaged or not an image"):
        Encoded(tmp_path / "x.jpg").image(rows=20)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("form", ["baseline", "progressive", "png"])
def test_batches_are_those_of_whole_images(tmp_path: Path, form: str, fast: bool) -> None:
    """Draw by draw, bit by bit; each part ends where its draws say."""
    options = {"progressive": True} if form == "progressive" else {}
    names = tuple(f"{number}.jpg" for number in range(12))
    for number, name in enumerate(names):
        path = tmp_path / name
        picture = photo(90 + number, 200 - number)
        picture.save(path, "png" if form == "png" else "jpeg", **options)
    split = ImageSplit(tmp_path, names, np.zeros(12, dtype=np.int64), ())
    transform = build_transform(IMAGENET_LINEAR.train, (0, 0, 0), (1, 1, 1), fast=fast)
    ((found, _),) = load_batches(split, transform, np.arange(12), batch_size=12, seed=3, epoch=5)
    for number, name in enumerate(names):
        entropy = np.random.SeedSequence([3, 5, number])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
            file = Encoded(tmp_path / name)
            assert torch.equal(found[number], transform(file.tensor() if fast else file.image()))


def test_fewer_rows_are_decoded(tmp_path: Path) -> None:
    photo(90, 400).save(tmp_path / "x.jpg")
    encoded = Encoded(tmp_path / "x.jpg")
    assert encoded.size() == (90, 400)
    assert encoded.image(rows=20).size == (90, 24)
    assert encoded.tensor(rows=20).shape == (3, 24, 90)
    assert torch.equal(encoded.tensor(rows=20)[:, :20], encoded.tensor()[:, :20])
    assert encoded.image().size == open_image(tmp_path / "x.jpg").size == (90, 400)


def test_a_bomb_is_refused_by_the_size_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(64, 480).save(tmp_path / "huge.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 200)
    with pytest.raises(UserError, match=r"huge\.jpg is too large"):
        Encoded(tmp_path / "huge.jpg").image(rows=10)


def test_only_a_geometry_that_begins_with_a_part_wants_one(tmp_path: Path) -> None:
    photo(90, 400).save(tmp_path / "x.jpg")
    encoded = Encoded(tmp_path / "x.jpg")
    for spec, random in ((IMAGENET_AVGPOOL.train, True), (IMAGENET_AVGPOOL.test, False)):
        part = build_transform(spec, (0, 0, 0), (1, 1, 1)).geometry.draw_part(encoded)
        assert (part is not None) is random
