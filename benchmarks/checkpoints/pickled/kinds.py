"""What a file is that is no checkpoint, by its first bytes; the common accidents."""

_BEGINNINGS = (
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"BZh", "compressed by bzip2; unpack it first"),
    (b"\xfd7zXZ", "compressed by xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x93NUMPY", "an array of NumPy"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
)
_TAR = (b"ustar", 257)  # the mark and its place


def kind_of_file(head: bytes) -> str | None:
    """A few words on a file that begins with `head` (512 bytes), or None for a possible pickle."""
    if not head:
        return "it is empty"
    if not head.strip(b"\0"):
        return "it is truncated: it begins with zeros only, as an aborted download does"
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head.lstrip()[:1] == b"{":
        return "a JSON file, perhaps an index; name the file that holds the weights"
    mark, place = _TAR
    if head[place : place + len(mark)] == mark:
        return "a tar archive; unpack it first"
    if head.lstrip()[:1] == b"<":
        return "a page of HTML or XML; the download went wrong"
    return None
