"""The table of formats in the documentation is that of the code."""

from pathlib import Path

import pytest

from benchmarks.checkpoints.formats import FORMATS
from benchmarks.checkpoints.formats_page import BEGIN, END, main, with_table
from slurm.errors import UserError

PAGE = Path(__file__).resolve().parents[3] / "docs" / "checkpoints.md"


def test_the_page_is_fresh() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page
    assert all(f"\n| `{format.name}` | " in page for format in FORMATS)


def test_the_table_is_written_between_the_markers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n")
    main([str(page)])
    main([])
    assert page.read_text() == f"before\n{BEGIN}{capsys.readouterr().out}{END}after\n"
    for text in ("", BEGIN, END + BEGIN, BEGIN + BEGIN + END):
        page.write_text(text)
        with pytest.raises(UserError, match="needs one line"):
            main([str(page)])
        assert page.read_text() == text
    with pytest.raises(UserError, match="cannot read"):
        main([str(tmp_path / "no.md")])


def test_rows_are_whole() -> None:
    for format in FORMATS:
        cells = (format.name, format.project, format.looks, format.told_by)
        assert all(cell and "|" not in cell and "\n" not in cell for cell in cells)
        assert format.rule or not format.takes or format.common
