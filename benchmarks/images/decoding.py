"""Images from disk, by PIL: whole, as RGB of 8 bits, or one line that says what is wrong.

By choice (`--decode fast`) simplejpeg decodes JPEG files, the same libjpeg-turbo with less around
it. What PIL's decoders repair in silence, such as a JPEG damaged within, is not seen here: see
`images.checking`.
"""

import io
import re
import warnings
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from simplejpeg import decode_jpeg, decode_jpeg_header

from benchmarks.images.jpeg import Jpeg
from benchmarks.input_files import OF_THE_MACHINE, open_file, reading_error
from slurm.errors import UserError
from slurm.files import refuse_pointer

if TYPE_CHECKING:
    from torch import Tensor

_REMEDY = "complete the images or correct the list"
_COLOURS = ("YCbCr", "Gray", "RGB")  # else CMYK, in which PIL knows its way
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf")  # chunks on which no pixel depends


def open_image(path: Path) -> Image.Image:
    """Decode an image whole, as RGB; `UserError` naming the file if it is missing or damaged.

    Grey values of 16 bits are scaled to 8, which PIL's conversion would clip instead. What PIL
    warns of, such as damaged EXIF data, is said with the name of the file.
    """
    return Encoded(path).image()


class Encoded:
    """An image file, to be decoded whole or, where only its upper rows are wanted, down to them."""

    def __init__(self, path: Path) -> None:
        """Read the file; `UserError` naming it if it is missing or cannot be read."""
        self.path = path
        with open_file(path, _REMEDY) as file:
            try:
                self.content = file.read()
            except OSError as error:
                if error.errno in OF_THE_MACHINE:
                    raise
                raise reading_error(path, error, "check the file") from None
        self._decoded: Image.Image | None = None  # of what only decoding can tell the size

    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if self._jpeg is not None:
            return self._jpeg.width, self._jpeg.height
        self._decoded = self.image()
        return self._decoded.size

    def image(self, rows: int | None = None) -> Image.Image:
        """See `open_image`; of the first `rows` rows at least, the others may be missing.

        A part of it must be drawn by `size()` then.
        """
        if self._decoded is not None:
            return self._decoded
        if rows is not None and self._jpeg is not None:
            with suppress(UserError):  # of the whole file it is judged whether it is sound
                return decode_image(io.BytesIO(self._jpeg.upper(rows)), self.path)
        return decode_image(io.BytesIO(self.content), self.path)

    def tensor(self, rows: int | None = None) -> "Tensor":
        """A JPEG file without PIL, as RGB (3, H, W) uint8; all else, and rows, as `image` does.

        What libjpeg warns of or refuses goes to PIL, whose errors name the file; so does what PIL
        refuses for its size or its header.
        """
        import torch

        pixels = self._jpeg_pixels(rows)
        if pixels is None:
            pixels = np.array(self.image())
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _jpeg_pixels(self, rows: int | None) -> NDArray[np.uint8] | None:
        """(H, W, 3); None for what is PIL's business."""
        if self._decoded is not None or not self.content.startswith(b"\xff\xd8"):
            return None
        if not self._is_sound():
            return None
        # Of an upper part libjpeg warns in any case: of the codes that come after it.
        part = self.content if rows is None or self._jpeg is None else self._jpeg.upper(rows)
        with suppress(ValueError, KeyError):  # the latter of a sampling that has no name there
            if decode_jpeg_header(part)[2] in _COLOURS:
                found: NDArray[np.uint8] = decode_jpeg(part, "RGB", strict=part is self.content)
                return found
        return None

    def _is_sound(self) -> bool:
        """Whether PIL knows the header and has nothing to say about the size."""
        if self._jpeg is not None:
            return True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with Image.open(io.BytesIO(self.content)) as image:
                    return not _too_large(image.width * image.height)
            except Exception:  # it says so where the image is decoded
                return False

    @cached_property
    def _jpeg(self) -> Jpeg | None:
        found = Jpeg.of(self.content)
        if found is not None and _too_large(found.width * found.height):
            return None  # PIL warns of it, or refuses it
        return found


def _too_large(pixels: int) -> bool:
    """Whether PIL warns of an image of so many pixels."""
    return Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS


def decode_image(file: BinaryIO, path: Path) -> Image.Image:
    """As `open_image`, of an open file; `path` is how errors call it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = _open(file, path)
    for warning in caught:
        warnings.warn(f"{path}: {warning.message}", warning.category, stacklevel=3)
    return image


def _open(file: BinaryIO, path: Path) -> Image.Image:
    try:
        try:
            return _decode(file, path)
        except ValueError as error:
            # PIL reads no text beyond 1 MB a chunk when unpacked, 64 MB in all: a picture can be
            # read without any.
            if "MAX_TEXT_" not in str(error):
                raise
            file.seek(0)
            return _decode(io.BytesIO(_without_text(file.read())), path)
    except (UserError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path} is too large to be read safely ({error}); make it smaller"
        ) from None
    except Exception as error:  # PIL's decoders raise many types for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            if error.errno in OF_THE_MACHINE:
                raise
            raise UserError(f"cannot read {path}: {error.strerror}; check the file") from None
        file.seek(0)
        refuse_pointer(path, file.read(64))
        # PIL says by which object it read the file, which nobody knows.
        reason = re.sub(r"\s*<_io\..*>", "", " ".join(str(error).split())) or type(error).__name__
        raise UserError(f"{path} is damaged or not an image ({reason}); replace the file") from None


def _decode(file: BinaryIO, path: Path) -> Image.Image:
    with Image.open(file) as image:
        if image.mode == "F":
            raise UserError(
                f"{path} has floating-point pixels, whose range is unknown: convert the images "
                "to 8 or 16 bits"
            )
        grey = _to_eight_bits(image) if image.mode.startswith("I") else image
        if grey.mode == "RGB":
            grey.load()
            return grey
        return grey.convert("RGB")


def _without_text(content: bytes) -> bytes:
    """A PNG file without its chunks of text; what is no PNG file, or cut, as it is."""
    if not content.startswith(_PNG):
        return content
    kept, start = [_PNG], len(_PNG)
    while start < len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        end = start + 12 + length  # length, type, data and checksum
        if content[start + 4 : start + 8] not in _TEXT:
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of modes I;16 (in any byte order) and I, rounded to the nearest of 0..255.

    Mode I can hold anything; PNG and PGM files that become it have 16 bits, from others a value
    above 255 shows it.
    """
    values = np.asarray(image).astype(np.int64)
    if image.mode == "I" and image.format not in ("PNG", "PPM") and values.max() <= 255:
        scaled = values
    else:
        scaled = (values + 128) // 257
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
