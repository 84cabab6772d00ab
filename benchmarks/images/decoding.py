"""Images from disk, by PIL: whole, as RGB of 8 bits, or one line that says what is wrong."""

import errno
from pathlib import Path

import numpy as np
from PIL import Image

from slurm.errors import UserError


def open_image(path: Path) -> Image.Image:
    """Decode an image whole, as RGB; `UserError` naming the file if it is missing or damaged.

    Grey values of 16 bits are scaled to 8, which PIL's conversion would clip instead.
    """
    try:
        with Image.open(path) as image:
            if image.mode == "F":
                raise UserError(
                    f"{path} has floating-point pixels, whose range is unknown: convert the images "
                    "to 8 or 16 bits"
                )
            grey = _to_eight_bits(image) if image.mode.startswith("I") else image
            return grey.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; complete the images or correct the list") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # PIL's decoders raise many types for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            raise UserError(f"cannot read {path}: {error.strerror}; check the file") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is damaged or not an image ({reason}); replace the file") from None


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
