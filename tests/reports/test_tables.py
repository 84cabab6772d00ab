"""Tables: byte identity with the model zoos, escaping, widths."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.collect import collect
from reports.document import explanation
from reports.measured import measured_tables
from reports.published import load, published_tables
from reports.run import link_target
from reports.tables import (
    KINDS,
    Cell,
    Row,
    Table,
    code,
    escape,
    format_table,
    in_order,
    link,
    markdown,
)

DATA = Path(__file__).with_name("data")


def one_column(rows: list[Row]) -> Table:
    return Table(KINDS["voc-svm"], "mmselfsup", ("SVM",), tuple(rows))


@pytest.mark.parametrize("kind", ["voc-svm", "imagenet-linear", "places205-linear"])
def test_the_published_deepcluster_row_is_byte_identical(kind: str) -> None:
    published = load()
    rows = [row for row in published.rows if row.name == "sobel_resnet50_8xb64-steplr-200e"]
    table = next(t for t in published_tables(published, rows) if t.kind.key == kind)
    expected = (DATA / f"deepcluster-{kind}.md").read_bytes()
    assert (markdown(table) + "\n").encode() == expected


# MMSelfSup 0.11.0, BYOL: links of different lengths, a method with two rows.
BYOL = """\
| Self-Supervised Config                                                                                                                                       | Feature1 | Feature2 | Feature3 | Feature4 | Feature5 | AvgPool |
| ------------------------------------------------------------------------------------------------------------------------------------------------------------ | -------- | -------- | -------- | -------- | -------- | ------- |
| [resnet50_8xb32-accum16-coslr-200e](https://github.com/open-mmlab/mmselfsup/blob/master/configs/selfsup/byol/byol_resnet50_8xb32-accum16-coslr-200e_in1k.py) | 15.16    | 35.26    | 47.77    | 63.10    | 71.21    | 71.72   |
| [resnet50_16xb256-coslr-200e](https://github.com/open-mmlab/mmselfsup/blob/master/configs/selfsup/byol/byol_resnet50_16xb256-coslr-200e_in1k.py)             | 15.41    | 35.15    | 47.77    | 62.59    | 71.85    | 71.88   |
"""  # noqa: E501
# MMSelfSup 0.11.0, Relative-Loc: another best layer.
RELATIVE_LOC = """\
| Self-Supervised Config                                                                                                                                       | Best Layer | SVM   | k=1   | k=2   | k=4   | k=8   | k=16  | k=32  | k=64  | k=96  |
| ------------------------------------------------------------------------------------------------------------------------------------------------------------ | ---------- | ----- | ----- | ----- | ----- | ----- | ----- | ----- | ----- | ----- |
| [resnet50_8xb64-steplr-70e](https://github.com/open-mmlab/mmselfsup/blob/master/configs/selfsup/relative_loc/relative-loc_resnet50_8xb64-steplr-70e_in1k.py) | feature4   | 65.52 | 20.36 | 23.12 | 30.66 | 37.02 | 42.55 | 50.00 | 55.58 | 59.28 |
"""  # noqa: E501


@pytest.mark.parametrize(
    ("method", "kind", "expected"),
    [("BYOL", "imagenet-linear", BYOL), ("Relative-Loc", "voc-svm", RELATIVE_LOC)],
)
def test_other_methods_are_byte_identical(method: str, kind: str, expected: str) -> None:
    published = load()
    rows = [r for r in published.rows if r.method == method and r.source == "mmselfsup-0.11.0"]
    table = next(t for t in published_tables(published, rows) if t.kind.key == kind)
    assert markdown(table) + "\n" == expected


def test_missing_cells_are_dashes_and_figures_keep_two_decimals() -> None:
    lines = markdown(one_column([Row("a", None, {"SVM": Cell(70.0)}), Row("b", None)])).split("\n")
    assert lines[2:] == ["| a                      | 70.00 |", "| b                      | -     |"]


def test_bold_marks_every_best_printed_value_and_only_among_several() -> None:
    several = [Row(name, None, {"SVM": Cell(v)}) for name, v in zip("abc", (70.001, 70.004, 1))]
    text = markdown(one_column(several), bold=True)
    assert [line.split("|")[2].strip() for line in text.split("\n")[2:]] == [
        "**70.00**",
        "**70.00**",
        "1.00",
    ]
    assert "**" not in markdown(one_column(several[:1]), bold=True)


def test_names_that_would_break_a_table_are_escaped() -> None:
    row = Row("a|b[c](d)`e`\nf *g* <h> _i_", "http://x/(y) z|w", {})
    text = markdown(one_column([row]))
    assert text.split("\n")[2] == (
        "| [a\\|b\\[c\\](d)\\`e\\` f \\*g\\* \\<h\\> \\_i\\_](http://x/%28y%29%20z%7Cw) | -   |"
    )


def test_underscores_inside_words_stay_as_the_zoos_print_them() -> None:
    assert escape("sobel_resnet50_8xb64-steplr-200e") == "sobel_resnet50_8xb64-steplr-200e"
    assert link("a_b", None) == "a_b"


def test_code_spans_survive_backticks() -> None:
    assert code("a`b") == "``a`b``"
    assert code("`b") == "`` `b ``"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.lists(texts.map(escape), min_size=3, max_size=3), min_size=1, max_size=5))
def test_all_lines_are_equally_wide_and_every_cell_can_be_read_back(rows: list[list[str]]) -> None:
    lines = format_table(["A", "B", "C"], rows).split("\n")
    assert len({len(line) for line in lines}) == 1
    assert re.fullmatch(r"\| -+ \| -+ \| -+ \|", lines[1])
    for row, line in zip(rows, lines[2:], strict=True):
        cells = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
        assert [cell.strip() for cell in cells] == [cell.strip() for cell in row]


@given(texts)
def test_escaping_loses_nothing_but_blanks(text: str) -> None:
    plain = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
    assert re.sub(r"\\(.)", r"\1", escape(text)) == plain


@pytest.mark.parametrize(
    "config",
    [
        *("javascript:alert(1)", "JavaScript://a%0aalert(1)", " javascript:x", "data:text/html,x"),
        *("file:///etc/hosts", "a\0b", "https://a/\x1b[0m", "java\nscript:x", "a" * 300 + "/x.py"),
        *("https://a/" + "b" * 2000, "/".join(["a" * 99] * 30), "", "\u202ehttps://a"),
    ],
)
def test_a_config_that_is_no_safe_link_is_plain_text(zoo: Any, config: str) -> None:
    zoo.with_(config=config).probe("net", {"feature5": 50.0})
    made = measured_tables(collect(zoo.path), link=lambda text: link_target(text, None))
    assert [row.link for item in made for row in item.table.rows] == [None]
    table = Table(KINDS["voc-svm"], "fair", ("SVM",), (Row("net", config),))
    if len(config) != 305:  # a path is plain where there is no such file
        assert "](" not in markdown(table)


@pytest.mark.parametrize("config", ["https://a.org/x.py", "HTTP://a.org"])
def test_a_web_address_is_a_link(config: str) -> None:
    assert link_target(config, None) == config
    assert f"[net]({config})" in markdown(
        Table(KINDS["voc-svm"], "fair", (), (Row("net", config),))
    )


def test_numbered_columns_stand_by_their_numbers() -> None:
    assert in_order(["k=10", "k=20"], ["k=5", "k=100"]) == ["k=5", "k=10", "k=20", "k=100"]
    assert in_order(["k=10"], []) == ["k=10"]
    assert in_order(["Top-1", "k=10"], ["k=5"]) == ["Top-1", "k=10", "k=5"]


def test_the_text_above_a_table_names_its_own_columns() -> None:
    kind = KINDS["imagenet-knn"]
    for columns, words in (
        (kind.columns, "Here, k=10 to 200 indicates"),
        (("k=5", "k=10"), "Here, k=5 to 10 indicates"),
        (("k=3",), "Here, k=3 indicates"),
    ):
        (text,) = explanation(
            Table(kind, "custom", columns, ()), {"imagenet_knn": "`knn_imagenet`"}
        )
        assert words in text
