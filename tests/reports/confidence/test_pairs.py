"""On the page two rows are compared as the command compares them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from reports.__main__ import main
from reports.tables import signed
from tests.reports.confidence.outcome_zoo import probe, scores_and_labels, svm
from tests.reports.test_html import browse


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rows, one of which has no SVM."""
    path = tmp_path_factory.mktemp("zoo")
    for name, right in (("a", 500), ("b</script>", 530), ("c", 531)):
        probe(path, name.partition("<")[0], np.arange(1000) < right)
    for name, seed, strength in (("a", 1, 1.0), ("c", 2, 2.5)):
        svm(path, name, *scores_and_labels(seed, strength))
    return path


@pytest.fixture(scope="module")
def page(zoo: Path) -> str:
    main(["--zoo", str(zoo), "--ci", "--html", str(zoo / "page.html")])
    return (zoo / "page.html").read_text()


def embedded(page: str) -> list[dict]:
    return [json.loads(text) for text in re.findall(r'class="pairs">(.*?)</script>', page)]


def test_every_pair_is_as_the_command_has_it(
    zoo: Path, page: str, capsys: pytest.CaptureFixture
) -> None:
    svms, probes = embedded(page)
    assert set(svms["columns"]) == {"0,1"}  # rows of this table: a and c
    assert set(probes["columns"]) == {"0,1", "0,2", "1,2"}
    names = ["a", "b", "c"]
    for pair, columns in probes["columns"].items():
        first, second = (names[int(at)] for at in pair.split(","))
        main(["compare", first, second, "--zoo", str(zoo), "--json", "-"])
        expected = {one["column"]: one for one in json.loads(capsys.readouterr().out)["columns"]}
        (found,) = columns
        kept = {name: value for name, value in expected["AvgPool"].items() if name in found}
        assert found == kept
        if "SVM" in expected:
            assert svms["columns"]["0,1"][0]["p_holm"] == expected["SVM"]["p_holm"]


def test_without_intervals_nothing_is_compared(zoo: Path) -> None:
    main(["--zoo", str(zoo), "--html", str(zoo / "plain.html")])
    plain = (zoo / "plain.html").read_text()
    assert embedded(plain) == []
    assert 'class="difference"' not in plain


def test_no_name_ends_the_script() -> None:
    from reports.confidence.pairs import PairedColumn, Pairs
    from reports.pages.html import _embedded

    column = PairedColumn("</script><b>", 1.0, 0.5, 1.5, 0.01, True)
    text = str(_embedded(Pairs(2, {"0,1": [column]})))
    assert "<" not in text
    assert json.loads(text)["columns"]["0,1"][0]["column"] == "</script><b>"


# Clicks the first and the last row of the last table, then the last again.
CLICKS = """
<script>
const table = [...document.querySelectorAll("p.difference")].at(-1);
const rows = table.previousElementSibling.querySelectorAll("tbody tr");
const seen = [table.innerText];
for (const n of [0, 2, 2]) { rows[n].click(); seen.push(table.innerText); }
document.title = seen.join("|");
</script>
"""


def test_two_rows_clicked_are_compared_in_chromium(page: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", f"{CLICKS}</body>"))
    title = re.search("<title>(.*?)</title>", browse(path, tmp_path / "profile", "--dump-dom"))
    assert title is not None
    start, one, both, again = title[1].split("|")
    assert start == one == again == "Click two rows to compare them."
    assert both == spoken(page)


def spoken(page: str) -> str:
    """What is to be said of the first and the last row of the last table."""
    (column,) = embedded(page)[-1]["columns"]["0,2"]
    low, high = column["low"], column["high"]
    return (
        f"c less a, 95 % paired intervals: AvgPool +3.10 ({low:+.2f} to {high:+.2f}, c is better)."
    )


def test_what_rounds_to_nothing_has_no_minus_on_the_page(page: str) -> None:
    """As the command writes it; by the text of the page where there is no node to run it."""
    function = re.search(r"^const differences = .*?^};", page, re.MULTILINE | re.DOTALL)
    assert function is not None
    node = shutil.which("node")
    if node is None:
        assert "shown = Number(x.toFixed(2))" in function[0]
        assert '(shown < 0 ? "" : "+") + shown.toFixed(2)' in function[0]
        return
    values = {"difference": -0.004, "low": -0.006, "high": 0.0049, "p_holm": 1.0}
    column = {"column": "AvgPool", "separable": False} | values
    pairs = json.dumps({"rows": 2, "columns": {"0,1": [column]}})
    program = f"{function[0]}\nconsole.log(differences({pairs}, ['a', 'b'], 0, 1));"
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True)
    said = f"AvgPool {signed(-0.004)} ({signed(-0.006)} to {signed(0.0049)}, not separable)."
    assert said == "AvgPool +0.00 (-0.01 to +0.00, not separable)."
    assert done.stdout.strip().endswith(said)


def test_what_is_said_of_two_rows(page: str) -> None:
    """The page's own function, by itself."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine: apt-get install nodejs runs this test")
    function = re.search(r"^const differences = .*?^};", page, re.MULTILINE | re.DOTALL)
    assert function is not None
    pairs = json.dumps(embedded(page)[-1])
    calls = [f"differences({pairs}, ['a', 'b', 'c'], {at})" for at in ("2, 0", "1, 2", "3, 0")]
    calls.append("differences({rows: 3, columns: {}}, ['a', 'b', 'c'], 0, 1)")
    program = f"{function[0]}\nfor (const line of [{', '.join(calls)}]) console.log(line);"
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True)
    first, second, beyond, none = done.stdout.splitlines()
    assert first == spoken(page)
    assert second == (
        "c less b, 95 % paired intervals: AvgPool +0.10 (+0.00 to +0.30, not separable)."
    )
    assert beyond.startswith("Only the first 3 rows are compared here")
    assert none == "These two rows have no outcomes in one column."
