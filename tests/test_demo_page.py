"""docs/demo/README.md says what the demo's own records say."""

from reports.collect import collect
from reports.measured import measured_tables
from tests.perf.demo import OURS, PAGE, RANDOM, fresh
from tests.test_documents import ROOT, rows

TEXT = PAGE.read_text()


def test_the_page_is_what_the_command_writes() -> None:
    assert fresh(TEXT) == TEXT


def test_differences_are_those_of_the_tables() -> None:
    """As the tables of README.md have them, read by the reports and not by the script."""
    tables = {one.kind.key: one.table for one in measured_tables(collect(ROOT / "docs/demo"))}
    cells = {
        key: {row.name: {name: str(cell) for name, cell in row.cells.items()} for row in table.rows}
        for key, table in tables.items()
    }
    header = next(row for row in rows(TEXT) if "Feature1" in row)
    for title, key in (
        ("ImageNet", "imagenet-linear"),
        ("Places205", "places205-linear"),
        ("iNaturalist", "inaturalist18-linear"),
    ):
        (said,) = [row for row in rows(TEXT) if row[0] == title]
        ours, random = cells[key][OURS], cells[key][RANDOM]
        for column, cell in zip(header[1:], said[1:], strict=True):
            if column in ours:
                assert abs(float(cell) - (float(ours[column]) - float(random[column]))) < 0.061
            else:
                assert cell == ""
    ours, random = (float(cells["voc-svm"][name]["SVM"]) for name in (OURS, RANDOM))
    assert f"has {ours:.1f} mAP at its best layer, the random trunk's {random:.1f}." in TEXT
