"""The upper part of a JPEG: the same file, said to be less high.

A random part of an image needs no row below its own. A JPEG of one scan holds its rows from the top
to the bottom, so that a decoder which is told of fewer rows ends sooner, with the same pixels.
"""

from typing import NamedTuple

import numpy as np

_START, _END = b"\xff\xd8", b"\xff\xd9"
_BASELINE = (0xC0, 0xC1)  # frames of Huffman codes in one pass; 0xC2, progressive, has many
_SCAN = 0xDA
_HIGHEST = 65_500  # rows or columns; libjpeg refuses more
# Colours are kept for one of at most four rows, and may be smoothed with the next that are kept:
# where it is for one of two, one row more is enough.
_SMOOTHED = 4


class Jpeg(NamedTuple):
    """A file whose upper part can be had alone."""

    content: bytes
    width: int
    height: int
    height_at: int  # where in the file its height is said, as two bytes

    @classmethod
    def of(cls, content: bytes) -> "Jpeg | None":
        """None if all must be decoded: no JPEG, one of several passes, or cut, which is an error.

        See ISO/IEC 10918-1, B.2: markers, each with the length of what belongs to it.
        """
        if not (content.startswith(_START) and content.endswith(_END)):
            return None
        place, frame, components = 2, 0, 0
        while place + 10 <= len(content) and content[place] == 0xFF:
            marker, length = content[place + 1], _number(content, place + 2)
            if length < 2 or marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
                return None  # a byte that fills, or a marker that stands alone: rare before a scan
            if marker == _SCAN:
                if not frame or content[place + 4] != components:
                    return None
                if _has_marker(content, place + 2 + length, len(content) - len(_END)):
                    return None
                height, width = _number(content, frame + 5), _number(content, frame + 7)
                return cls(content, width, height, frame + 5) if _allowed(width, height) else None
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # these hold tables
                if marker not in _BASELINE or frame:
                    return None
                frame, components = place, content[place + 9]
            place += 2 + length
        return None

    def upper(self, rows: int) -> bytes:
        """A file of the first `rows` rows at least, whose pixels are those of the whole."""
        height = rows + _SMOOTHED
        if height >= self.height:
            return self.content
        said = height.to_bytes(2, "big")
        return self.content[: self.height_at] + said + self.content[self.height_at + 2 :]


def _allowed(width: int, height: int) -> bool:
    return 0 < width <= _HIGHEST and 0 < height <= _HIGHEST


def _has_marker(content: bytes, first: int, last: int) -> bool:
    """Whether codes are interrupted: by damage, an error in whichever row it is, or by a restart.

    A byte of codes that is 255 is followed by 0.
    """
    codes = np.frombuffer(content, np.uint8)[first:last]
    return bool(((codes[:-1] == 255) & (codes[1:] != 0)).any())


def _number(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 2], "big")
