"""The page: self-contained, and sortable in a real browser."""

import html.parser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reports.collect import collect
from reports.measured import measured_tables
from reports.pages.html import measured_sections, page
from reports.pictures.shapes import Curve, Panel, Picture

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
CURVE = Curve("net", (0.0, 1.0), (10.0, 20.0))
PICTURE = Picture("layers", "words for those who cannot see", (Panel("t", "", "y", (CURVE,)),))


def make_page(zoo: Any) -> str:
    for name, top1 in (("a", 9.5), ("b", 100.0), ("c", None), ("<i>d|", 20.0)):
        folder = name.strip("<i>|")
        heads = {"feature1": 50.0} if top1 is None else {"feature1": 50.0, "feature5": top1}
        path = zoo.with_(config="javascript:alert(1)" if name == "a" else None).probe(folder, heads)
        assert path.exists()
    return page(measured_sections(measured_tables(collect(zoo.path))), [PICTURE]).decode()


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_nothing_from_elsewhere(zoo: Any) -> None:
    tags = Tags()
    tags.feed(make_page(zoo))
    for tag, attributes in tags.found:
        assert tag not in {"link", "iframe", "object"}
        if source := attributes.get("src"):
            assert source.startswith("data:image/svg+xml;base64,")
        assert not (attributes.get("href") or "").startswith("javascript:")
    (image,) = [attributes for tag, attributes in tags.found if tag == "img"]
    assert image["alt"] == PICTURE.alt


def browse(page_file: Path, profile: Path, *flags: str) -> str:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium runs this test")
    command = [browser, *FLAGS, f"--user-data-dir={profile}", *flags, page_file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# Clicks the headers named in turn and writes the order of the rows after each click.
CLICKS = """
<script>
const button = (n) => document.querySelectorAll("th button")[n];
const order = () => [...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].innerText);
const seen = [order().join()];
for (const n of [5, 5, 0, 0]) { button(n).click(); seen.push(order().join()); }
const sorted = document.querySelector("th[aria-sort]");
document.title = seen.join(";") + ";" + sorted.cellIndex + sorted.getAttribute("aria-sort");
</script>
"""


def test_a_click_on_a_header_sorts_in_chromium(zoo: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(make_page(zoo).replace("</body>", f"{CLICKS}</body>"))
    dom = browse(path, tmp_path / "profile", "--dump-dom")
    title = re.search("<title>(.*?)</title>", dom)
    assert title is not None
    assert title[1].split(";") == [
        "a,b,c,d",
        "b,d,a,c",  # numbers, the largest first, the missing one last
        "a,d,b,c",
        "a,b,c,d",  # names
        "d,c,b,a",
        "0descending",
    ]
