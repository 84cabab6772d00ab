"""Blocks of a README: found, replaced, and nothing else touched."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.pages.readme import difference, find_blocks, inject, write
from slurm.errors import UserError

KNOWN = ("all", "voc-svm", "published")
PATH = Path("README.md")


def replace(content: bytes, **texts: str) -> bytes:
    named = {name.replace("_", "-"): text for name, text in texts.items()}
    return inject(content, find_blocks(content, KNOWN, PATH), named, PATH)


def test_only_what_stands_between_the_markers_changes() -> None:
    old = b"# Title\n\n<!-- reports:all -->\nold\n<!-- /reports:all -->\ntail without newline"
    new = replace(old, all="| a |\n| - |")
    assert new == (
        b"# Title\n\n<!-- reports:all -->\n\n| a |\n| - |\n\n<!-- /reports:all -->\n"
        b"tail without newline"
    )
    assert replace(new, all="| a |\n| - |") == new


def test_windows_line_endings_and_the_byte_order_mark_stay() -> None:
    old = b"\xef\xbb\xbf<!-- reports:all -->\r\n<!-- /reports:all -->\r\nmixed\nends\r\n"
    new = replace(old, all="a\nb")
    assert new == (
        b"\xef\xbb\xbf<!-- reports:all -->\r\n\r\na\r\nb\r\n\r\n<!-- /reports:all -->\r\n"
        b"mixed\nends\r\n"
    )


def test_bytes_that_are_not_utf8_stay() -> None:
    old = b"caf\xe9 \xff\x00\n<!-- reports:all -->\n<!-- /reports:all -->\n\xfe"
    new = replace(old, all="plain")
    assert new == (
        b"caf\xe9 \xff\x00\n<!-- reports:all -->\n\nplain\n\n<!-- /reports:all -->\n\xfe"
    )
    with pytest.raises(UserError, match="not UTF-8"):
        replace(old, all="1.00 ± 0.10")


def test_several_blocks_even_of_one_name_are_replaced() -> None:
    block = b"<!-- reports:voc-svm -->\n<!-- /reports:voc-svm -->\n"
    old = block + b"between\n" + block + b"<!-- reports:published -->\n<!-- /reports:published -->"
    new = replace(old, voc_svm="V", published="P")
    assert new.count(b"\n\nV\n\n") == 2
    assert b"\n\nP\n\n" in new


def test_markers_inside_fenced_code_are_text() -> None:
    fenced = b"````md\n<!-- reports:all -->\n```\n<!-- /reports:all -->\n````\n"
    tilde = b"~~~\n<!-- reports:nothing -->\n~~~\n"
    real = b"<!-- reports:all -->\n<!-- /reports:all -->\n"
    new = replace(fenced + tilde + real, all="X")
    assert new.startswith(fenced + tilde)
    assert new.count(b"X") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!-- reports:all -->\n", "line 1: the block all is never closed"),
        (b"\n<!-- /reports:all -->\n", "line 2: this closes a block all that is not open"),
        (b"<!-- reports:al -->\n<!-- /reports:al -->\n", "did you mean all"),
        (b"<!-- reports:all -->\n<!-- reports:voc-svm -->\n", "all of line 1 is not closed"),
        (b"<!-- reports:all -->\n<!-- /reports:voc-svm -->\n", "line 2: this closes"),
        ("<!-- reports:all -->\n".encode("utf-16"), "UTF-16"),
        (
            b"\n<!-- reports:all --> <!-- /reports:all -->\n",
            "line 2: <!-- reports:all --> and <!-- /reports:all --> must stand alone on a line "
            "each: the tables are written between",
        ),
        (b"<!--reports:all--><!--/reports:all-->", "line 1: .* must stand alone"),
        (b"\xef\xbb\xbf<!-- reports:all --><!-- /reports:all -->\r\n", "line 1: .* stand alone"),
        (b"See: <!-- reports:all -->\n<!-- /reports:all -->\n", "line 1: .* alone on its line"),
        (b"<!-- reports:all -->\nold <!-- /reports:all -->\n", "line 2: .* alone on its line"),
        (b"> <!-- reports:al -->\n", "line 1: <!-- reports:al --> must stand alone"),
    ],
)
def test_wrong_markers_are_named_with_their_line(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_blocks(content, KNOWN, PATH)


def test_markers_shown_as_code_in_a_sentence_are_text() -> None:
    prose = b"Put `<!-- reports:all -->` and ``<!-- /reports:all -->`` on two lines.\n"
    real = b"<!-- reports:all -->\n<!-- /reports:all -->\n"
    new = replace(prose + real, all="X")
    assert new.startswith(prose)
    assert new.count(b"X") == 1


other_bytes = st.binary(max_size=60).filter(
    lambda text: b"reports:" not in text and b"`" not in text and b"~" not in text
)


@given(
    before=other_bytes,
    old=other_bytes,
    after=other_bytes,
    newline=st.sampled_from([b"\n", b"\r\n"]),
)
def test_no_other_byte_is_touched(before: bytes, old: bytes, after: bytes, newline: bytes) -> None:
    if before.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    head = before + newline + b"<!-- reports:all -->" + newline
    tail = b"<!-- /reports:all -->" + newline + after
    content = head + old + newline + tail
    new = replace(content, all="line one\nline two")
    block = newline.join([b"", b"line one", b"line two", b"", b""])
    assert new == head + block + tail
    assert replace(new, all="line one\nline two") == new
    assert replace(new, all="other") == replace(content, all="other")


def test_writing_follows_a_link_and_keeps_the_mode(tmp_path: Path) -> None:
    real = tmp_path / "docs" / "zoo.md"
    real.parent.mkdir()
    real.write_bytes(b"old")
    real.chmod(0o640)
    shown = tmp_path / "README.md"
    shown.symlink_to(real)
    write(shown, b"new")
    assert shown.is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640
    assert list(real.parent.iterdir()) == [real]


def test_the_difference_is_a_unified_diff_and_empty_when_equal() -> None:
    assert difference(b"a\nb", b"a\nb", PATH) == ""
    assert "-b\n+c\n" in difference(b"a\nb", b"a\nc", PATH)
