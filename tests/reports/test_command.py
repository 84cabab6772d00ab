"""The command as users run it: README, --check, formats, exit codes, and no torch."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR, IMAGENET_LINEAR
from benchmarks.catalog.places205_linear import PLACES205_LINEAR
from benchmarks.results import Split
from reports.__main__ import main
from reports.pages.links import REPOSITORY, link_target
from reports.pictures.shapes import fingerprint
from slurm.errors import UserError

HEADS = {f"feature{stage}": 10.0 * stage for stage in range(1, 6)}
DATA = Path(__file__).with_name("data")
# The heavy packages cannot be imported at all in this interpreter.
BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
from slurm.cli import run_command
from reports.__main__ import main
run_command(main, sys.argv[1:])
"""
HEAVY = ("torch", "torchvision", "timm", "sklearn", "faiss", "numpy", "matplotlib", "submitit")


def run(*arguments: object, blocked: tuple[str, ...] = HEAVY) -> subprocess.CompletedProcess[str]:
    program = BLOCKED.format(names=blocked)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_needs_none_of_the_heavy_packages(zoo: Any, tmp_path: Path) -> None:
    zoo.deepcluster()
    readme = tmp_path / "README.md"
    done = run("--zoo", zoo.path, "--readme", readme)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"wrote {tmp_path}/results.json\nwrote {readme}\n"
    done = run("--zoo", zoo.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (DATA / "deepcluster-voc-svm.md").read_text() in done.stdout
    assert (DATA / "deepcluster-voc-svm.md").read_text() in readme.read_text()
    done = run("--published", "--only", "sobel_resnet50_8xb64-steplr-200e")
    assert (done.returncode, done.stderr) == (0, "")
    for kind in ("voc-svm", "imagenet-linear", "places205-linear"):
        assert (DATA / f"deepcluster-{kind}.md").read_text() in done.stdout


@pytest.mark.parametrize("form", ["csv", "latex", "metafile", "model-index", "json"])
def test_every_format_is_printed(form: str, zoo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    zoo.deepcluster()
    assert "29.37" in call(capsys, "--zoo", zoo.path, "--format", form)


@pytest.mark.parametrize("form", ["csv", "latex"])
def test_published_figures_are_printed_in_other_forms(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "29.73" in call(capsys, "--published", "--format", form)


def test_pictures_need_no_torch(zoo: Any, tmp_path: Path) -> None:
    zoo.probe("net", HEADS)
    blocked = ("torch", "torchvision", "timm", "sklearn", "faiss", "submitit")
    page = tmp_path / "page.html"
    done = run("--zoo", zoo.path, "--html", page, "--plots", tmp_path, blocked=blocked)
    assert (done.returncode, done.stderr) == (0, "")
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")


def test_user_errors_are_one_line_and_exit_2(zoo: Any, tmp_path: Path) -> None:
    zoo.probe("net", HEADS).write_text("{ half")
    done = run("--zoo", zoo.path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {zoo.path}/results/net/imagenet_linear/")
    done = run("--zoo", zoo.path, "--skip-invalid")
    assert done.returncode == 0
    assert "No results yet." in done.stdout
    assert done.stderr.startswith("left out: ")
    wrongs: tuple[list[object], ...] = (
        ["--check"],
        ["--published", "--compare"],
        ["--only", "MoCo v1"],
        ["--readme", tmp_path / "README.md", "--published"],
        ["--zoo", tmp_path / "none"],
    )
    for wrong in wrongs:
        done = run(*wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_check_exits_1_with_a_diff_when_stale(zoo: Any, tmp_path: Path) -> None:
    zoo.probe("net", HEADS)
    readme = tmp_path / "README.md"
    flags = ["--zoo", zoo.path, "--readme", readme]
    assert run(*flags, "--check").returncode == 1
    assert not readme.exists()
    assert run(*flags).returncode == 0
    before = readme.read_bytes(), readme.stat().st_mtime_ns
    assert run(*flags, "--check").returncode == 0
    assert run(*flags).returncode == 0
    assert (readme.read_bytes(), readme.stat().st_mtime_ns) == before
    readme.write_bytes(before[0].replace(b"50.00", b"51.00"))
    done = run(*flags, "--check")
    assert done.returncode == 1
    assert any(line.startswith("-") and "51.00" in line for line in done.stdout.split("\n"))
    assert any(line.startswith("+") and "50.00" in line for line in done.stdout.split("\n"))
    assert b"51.00" in readme.read_bytes()
    readme.write_bytes(before[0])
    (tmp_path / "results.json").unlink()
    assert "results.json is missing or stale" in run(*flags, "--check").stdout


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_equal_figures_give_equal_bytes_whenever_and_wherever_measured(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for number, run_fields in enumerate(
        (
            {},
            {"host": "omega", "started": "2030-05-05T00:00:00+00:00", "seconds": 9e9},
        )
    ):
        folder = tmp_path / str(number)
        place = folder / "zoo"
        place.mkdir(parents=True)
        other = zoo.with_(path=place, extra=run_fields)
        other.deepcluster()
        other.probe("another", HEADS)
        flags = ["--zoo", place, "--readme", place / "README.md", "--format", "markdown"]
        printed.append(call(capsys, *flags))
    first, second = tmp_path / "0" / "zoo", tmp_path / "1" / "zoo"
    assert printed[0] == printed[1]
    assert (first / "README.md").read_bytes() == (second / "README.md").read_bytes()
    # A results.json that differs in times and hosts only is not stale.
    shutil.copy(second / "results.json", first / "results.json")
    call(capsys, "--zoo", first, "--readme", first / "README.md", "--check")


def test_a_new_readme_is_a_whole_document(zoo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    zoo.probe("net", HEADS, DIGITS_IMAGENET_LINEAR)
    readme = zoo.path / "README.md"
    printed = call(capsys, "--zoo", zoo.path, "--readme", readme, "--format", "markdown")
    text = readme.read_text()
    assert text.startswith("# ")
    assert "## Results and Models" in text
    assert "#### ImageNet Linear Evaluation (variant `digits`)" in text
    assert printed.strip() in text


def test_a_readme_that_loses_its_results_to_another_is_spoken_of(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.probe("net", HEADS)
    first, second = (["--zoo", zoo.path, "--readme", tmp_path / name] for name in ("A.md", "B.md"))
    (tmp_path / "README.md").write_text("Of something else.\n")
    assert "note:" not in call(capsys, *first)
    assert "note:" not in call(capsys, *second)  # the same records
    zoo.probe("other", HEADS)
    said = call(capsys, *second)
    assert said.count("note:") == 1
    assert f"note: {tmp_path}/A.md refers to {tmp_path}/results.json too" in said


def test_every_cell_leads_to_its_record(zoo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = zoo.probe("net", HEADS)
    call(capsys, "--zoo", zoo.path, "--readme", zoo.path / "README.md")
    proof = json.loads((zoo.path / "results.json").read_bytes())
    (table,) = proof["tables"]
    (row,) = table["rows"]
    for stage in range(1, 6):
        cell = row["cells"][f"Feature{stage}"]
        (name,) = cell["records"]
        assert zoo.path / name == path
        heads = json.loads((zoo.path / name).read_bytes())["heads"]
        assert heads[f"feature{stage}"]["top1"] == cell["value"] == 10.0 * stage
    assert proof["records"][name]["run"]["host"] == "alpha"


def test_rows_are_chosen_as_the_benchmarks_choose_them(
    zoo: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.with_(weights="random:sobel_resnet18:0").probe("random-sobel_resnet18", HEADS)
    zoo.probe("net", HEADS)
    zoo.probe("other", HEADS)
    text = call(capsys, "--zoo", zoo.path, "--ckpt", "random:sobel_resnet18,net")
    rows = [line.split("|")[1].strip() for line in text.split("\n") if line.startswith("| ")]
    assert rows[2:] == ["random-sobel_resnet18", "net"]


def test_blocks_by_table_and_published_ones(
    zoo: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "reports.pictures.plots.draw", lambda picture, _: fingerprint(picture).encode()
    )
    zoo.deepcluster()
    readme = tmp_path / "README.md"
    names = ("imagenet-linear", "inaturalist18-linear", "pictures", "published", "compare")
    readme.write_text(
        "".join(f"<!-- reports:{name} -->\n<!-- /reports:{name} -->\n" for name in names)
    )
    flags = ["--zoo", zoo.path, "--readme", readme, "--plots", tmp_path / "p"]
    call(capsys, *flags, "--only", "DeepCluster")
    text = readme.read_text()
    parts = text.split("<!-- reports:")
    assert (DATA / "deepcluster-imagenet-linear.md").read_text() in parts[1]
    assert "No results yet." in parts[2]
    assert "](p/layers-imagenet-linear-mmselfsup.svg)" in parts[3]
    for link in ("low-shot-mmselfsup", "classes-mmselfsup", "layers-voc-svm-mmselfsup"):
        assert f"](p/{link}.svg)" in parts[3]
        assert (tmp_path / "p" / f"{link}.svg").is_file()
    assert "29.73" in parts[4]
    assert "run-to-run band" in parts[5]
    flags += ["--only", "DeepCluster", "--check"]
    call(capsys, *flags)
    (tmp_path / "p" / "low-shot-mmselfsup.png").unlink()
    with pytest.raises(SystemExit):
        call(capsys, *flags)
    assert "low-shot-mmselfsup.png is missing" in capsys.readouterr().out


def test_published_blocks_need_no_zoo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("<!-- reports:published -->\n<!-- /reports:published -->\n")
    call(capsys, "--zoo", tmp_path / "none", "--readme", readme)
    assert "29.37" in readme.read_text()
    assert not (tmp_path / "results.json").exists()


def test_a_readme_without_markers_is_left_alone(zoo: Any, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# Mine\n")
    with pytest.raises(UserError, match="has no markers: add the lines <!-- reports:all -->"):
        main(["--zoo", str(zoo.path), "--readme", str(readme)])
    assert readme.read_text() == "# Mine\n"


def test_config_links_are_relative_to_the_readme_inside_the_repository() -> None:
    config = "reports/tables.py"
    assert link_target(config, REPOSITORY / "README.md") == "reports/tables.py"
    assert link_target(config, REPOSITORY / "demo" / "zoo" / "README.md") == (
        "../../reports/tables.py"
    )
    assert link_target(config, None) == "reports/tables.py"
    assert link_target(config, Path("/elsewhere/README.md")) is None  # no file there
    assert link_target("https://a/b.py", REPOSITORY / "README.md") == "https://a/b.py"
    assert link_target("no/such/file.py", None) is None
    assert link_target("../../etc/passwd", None) is None


def test_config_links_lead_to_files_of_the_readmes_own_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text("")
    (tmp_path / "zoo").mkdir()
    readme = tmp_path / "zoo" / "README.md"
    assert link_target("configs/mine.py", readme) == "../configs/mine.py"
    assert link_target("configs/mine.py", None) is None
    # A file of our repository is none of theirs, and neither is one beside it.
    for config in ("reports/tables.py", "../outside.py", str(tmp_path.parent / "outside.py")):
        (tmp_path.parent / "outside.py").write_text("")
        assert link_target(config, readme) is None


@pytest.mark.parametrize(
    "flags",
    [
        ["--readme", "R.md", "--html", "R.md"],
        ["--readme", "R.md", "--html", "./sub/../R.md"],
        ["--readme", "R.md", "--html", "link.md"],
        ["--readme", "R.md", "--html", "results.json"],
        ["--readme", "results.json"],
        ["--readme", "R.md", "--plots", "R.md"],
        ["--readme", "R.md", "--plots", "results.json/sub"],
        ["--html", "page", "--plots", "page"],
        ["--html", "sub/low-shot.svg", "--plots", "sub"],
    ],
)
def test_one_path_for_two_outputs_is_refused_before_anything_is_written(
    zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    zoo.deepcluster()
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    monkeypatch.chdir(folder)
    Path("link.md").symlink_to("R.md")
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match=r": name another$"):
        main(["--zoo", str(zoo.path), *flags])
    assert sorted(folder.rglob("*")) == before


def test_beside_files_nothing_is_printed_but_their_names(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.pictures.plots.draw", lambda one, suffix: one.name.encode())
    zoo.probe("net", HEADS)
    flags = ["--zoo", zoo.path]
    tables = call(capsys, *flags)
    assert "| net " in tables
    page, readme, folder = tmp_path / "page.html", tmp_path / "R.md", tmp_path / "pictures"
    assert call(capsys, *flags, "--html", page) == f"wrote {page}\n"
    assert call(capsys, *flags, "--plots", folder) == f"wrote 1 picture in {folder}\n"
    proof = tmp_path / "results.json"
    assert call(capsys, *flags, "--readme", readme) == f"wrote {proof}\nwrote {readme}\n"
    again = call(capsys, *flags, "--readme", readme, "--html", page)
    assert again == f"wrote {page}\nup to date: {proof}\nup to date: {readme}\n"
    # Unless a format is asked for.
    assert call(capsys, *flags, "--html", page, "--format", "markdown") == tables
    assert call(capsys, *flags, "--readme", readme, "--format", "csv").startswith("table,")


def test_a_page_that_is_standard_output_is_alone_there(zoo: Any) -> None:
    zoo.probe("net", HEADS)
    done = run("--zoo", zoo.path, "--html", "/dev/stdout", blocked=("torch",))
    assert done.stdout.endswith("</html>")
    assert done.stderr == "wrote /dev/stdout\n"


@pytest.mark.parametrize("form", ["markdown", "csv", "latex", "metafile", "model-index", "json"])
def test_a_variant_filters_every_format(
    form: str, zoo: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.probe("usual", HEADS)
    zoo.probe("small", HEADS, DIGITS_IMAGENET_LINEAR)
    zoo.probe("mine", HEADS, replace(IMAGENET_LINEAR, variant="custom", epochs=1))
    flags = ["--zoo", zoo.path, "--format", form]
    every = call(capsys, *flags)
    assert all(name in every for name in ("usual", "small", "mine"))
    some = call(capsys, *flags, "--variant", "digits,custom")
    assert "small" in some
    assert "mine" in some
    assert "usual" not in some
    with pytest.raises(UserError, match="unknown variant in the results 'digit'; did you mean dig"):
        main(["--zoo", str(zoo.path), "--variant", "digit"])


def test_a_variant_filters_pages_pictures_and_readmes(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.pictures.plots.draw", lambda one, suffix: one.name.encode())
    zoo.probe("usual", HEADS)
    zoo.probe("small", HEADS, DIGITS_IMAGENET_LINEAR)
    page, readme, folder = tmp_path / "page.html", tmp_path / "R.md", tmp_path / "pictures"
    flags = ["--html", page, "--readme", readme, "--plots", folder]
    call(capsys, "--zoo", zoo.path, "--variant", "digits", *flags)
    for text in (page.read_text(), readme.read_text(), (tmp_path / "results.json").read_text()):
        assert "small" in text
        assert "usual" not in text
    assert sorted(path.stem for path in folder.glob("*.svg")) == ["layers-imagenet-linear-digits"]


NAME = "sobel_resnet50_8xb64-steplr-200e"


def test_the_comparison_in_csv(zoo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The measured row, each published figure of its protocol, and the reasons for what is not."""
    zoo.svm("mine", {"feature5": 74.0})
    zoo.probe("mine", HEADS, DIGITS_IMAGENET_LINEAR)
    text = call(capsys, "--zoo", zoo.path, "--compare", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    cells = {(row["name"], row["column"]): row for row in rows if row["table"] == "voc-svm"}
    assert float(cells["measured: mine", "SVM"]["value"]) == 74.0
    swav = "resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96"
    assert cells[f"published, MMSelfSup 0.11.0: SwAV {swav}", "SVM"]["value"] == "87.0"
    notes = [
        row["text"] for row in rows if row["column"][:4] == "note" and row["variant"] == "digits"
    ]
    assert notes[0] == (
        "Not compared: Feature1 - Feature5 of mine was measured by digits_mhead_linear-2e_in1k of "
        "the variant digits; the published figures are of mmselfsup."
    )
    assert notes[1].startswith("Feature1 - Feature5: protocol digits_mhead_linear-2e_in1k, var")
    chosen = call(capsys, "--zoo", zoo.path, "--compare", "MoCo v1", "--format", "csv")
    rows = [row for row in csv.DictReader(io.StringIO(chosen)) if row["column"] == "SVM"]
    assert [row["name"] for row in rows][1:3] == [
        "published, OpenSelfSup 1db69ec (2021-01-20): MoCo v1 selfsup/moco/r50_v1.py",
        "difference: mine less OpenSelfSup 1db69ec (2021-01-20): MoCo v1 selfsup/moco/r50_v1.py",
    ]
    assert (rows[2]["text"], float(rows[2]["value"])) == ("-5.18", pytest.approx(-5.18))


def test_the_comparison_in_latex(zoo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    zoo.deepcluster()
    few = {"train": Split(1000, 10, "e" * 64), "val": Split(500, 10, "f" * 64)}
    zoo.probe(NAME, HEADS, PLACES205_LINEAR, data=few, key="few")
    text = call(capsys, "--zoo", zoo.path, "--compare", "--format", "latex", "--ckpt", NAME)
    voc = text.split(r"\end{tabular}")[0]
    escaped = NAME.replace("_", r"\_")
    assert f"measured: {escaped} & feature5 & 74.26 & 29.37" in voc
    assert f"published, MMSelfSup 0.11.0: DeepCluster {escaped} & feature5 & 74.26 & 29.37" in voc
    assert "difference & same & +0.00 & +0.00" in voc
    assert "0.11.0: SwAV resnet50" in voc
    assert "% VOC SVM / Low-shot SVM, variant mmselfsup, measured and published, SVM by" in voc
    assert "% Run-to-run band: smallest and largest difference" in voc
    assert "$^{" not in voc  # all figures of a column are of one protocol: none needs a mark
    assert (
        "% Source: MMSelfSup 0.11.0, configs/selfsup/*/README.md "
        "(https://github.com/open-mmlab/mmselfsup/tree/v0.11.0/configs/selfsup)."
    ) in voc
    places, partial = text.split(r"\end{tabular}")[2:4]
    assert "difference & +0.00 & +0.00" in places
    assert f"% Not compared: {NAME} (partial data, 1,500 of 2,469,373 images)." in partial


def test_a_comparison_without_rows_has_no_table(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.probe(NAME, HEADS, PLACES205_LINEAR)
    few = {"train": Split(1000, 10, "e" * 64), "val": Split(500, 10, "f" * 64)}
    zoo.probe(NAME, HEADS, data=few, key="few")
    said = f"Not compared: {NAME} (partial data, 1,500 of 1,331,167 images)."
    page = tmp_path / "page.html"
    call(capsys, "--zoo", zoo.path, "--compare", "--html", page)
    tables = {
        form: call(capsys, "--zoo", zoo.path, "--compare", "--format", form)
        for form in ("markdown", "latex")
    } | {"html": page.read_text()}
    begins = {
        "markdown": "| Self-Supervised",
        "latex": r"\begin{tabular}",
        "html": ">Self-Supervised",
    }
    assert {form: text.count(begins[form]) for form, text in tables.items()} == {
        "markdown": 1,
        "latex": 1,
        "html": 1,
    }
    assert all(said.replace("_", "") in re.sub(r"\\?_", "", one) for one in tables.values())
    assert tables["latex"].count(r"\midrule") == tables["latex"].count(r"\end{tabular}") == 1


def test_the_comparison_as_a_page(zoo: Any, tmp_path: Path) -> None:
    zoo.deepcluster()
    page = tmp_path / "page.html"
    main(["--zoo", str(zoo.path), "--compare", "--html", str(page)])
    text = page.read_text()
    assert "<h2>VOC SVM / Low-shot SVM: measured and published</h2>" in text
    assert text.count('data-value="difference"') == 7  # 2 of VOC07, 3 of ImageNet, 2 of Places205
    assert "SwAV" in text
    url = "https://github.com/open-mmlab/mmselfsup/tree/v0.11.0/configs/selfsup"
    assert f'<a href="{url}">MMSelfSup 0.11.0, configs/selfsup/*/README.md</a>.' in text
    assert "<button" not in text  # a difference belongs to the row above it
    assert "Click" not in text


def test_a_comparison_is_by_the_best_epoch_and_says_who_is_not_beside(
    zoo: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.probe("net", {"avgpool": 66.0}, IMAGENET_AVGPOOL)  # and 67 in its best epoch
    text = call(capsys, "--zoo", zoo.path, "--compare", "moco V1")  # 61.02
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[0][-2:]] == ["AvgPool", "AvgPool (best)"]
    difference = next(row for row in rows if row[0].strip() == "difference")
    assert [cell.strip() for cell in difference[-2:]] == ["-", "+5.98"]
    assert "Not beside them" not in text
    whole = call(capsys, "--zoo", zoo.path, "--compare")
    (line,) = [line for line in whole.splitlines() if "coslr-100e_in1k`." in line]
    assert line.startswith("- Not beside them: AvgPool of SwAV (MMSelfSup 0.11.0), SwAV (")
    assert "AvgPool of InterCLR (MMSelfSup 0.11.0), measured by a protocol that is not" in whole


def test_formats_that_a_comparison_has_not_are_refused(zoo: Any) -> None:
    zoo.probe("net", HEADS)
    for form in ("json", "metafile", "model-index"):
        with pytest.raises(UserError, match=f"--compare has no --format {form}: use markdown, csv"):
            main(["--zoo", str(zoo.path), "--compare", "--format", form])
    with pytest.raises(UserError, match="no published row 'MoCo v9'; did you mean MoCo v"):
        main(["--zoo", str(zoo.path), "--compare", "MoCo v9"])


def test_published_tables_as_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert call(capsys, "--published", "--html", page) == f"wrote {page}\n"
    assert "29.73" in page.read_text()
    for flags in (["--variant", "digits"], ["--best"], ["--plots", str(tmp_path)]):
        with pytest.raises(UserError, match="own figures, which --published does not show"):
            main(["--published", *flags])


def test_check_knows_pictures_of_other_figures(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what they show: another matplotlib may draw other bytes of the same figures."""
    zoo.probe("net", HEADS)
    readme, folder = tmp_path / "R.md", tmp_path / "p"
    readme.write_text("<!-- reports:pictures -->\n<!-- /reports:pictures -->\n")
    flags = ["--zoo", zoo.path, "--readme", readme, "--plots", folder]
    call(capsys, *flags)
    svg, png = (folder / f"layers-imagenet-linear-mmselfsup.{suffix}" for suffix in ("svg", "png"))
    svg.write_bytes(svg.read_bytes().replace(b"#D55E00", b"#D55E01") + b"<!-- another -->")
    call(capsys, *flags, "--check")
    zoo.probe("net", HEADS | {"feature5": 51.0})
    with pytest.raises(SystemExit):
        call(capsys, *flags, "--check")
    printed = capsys.readouterr().out
    for path in (svg, png):
        assert f"{path} is stale: it was drawn from other figures, or by an earlier" in printed
    call(capsys, *flags)
    call(capsys, *flags, "--check")
    # Whole PNGs: a reader of images sees the text, and takes the file for what it is.
    with Image.open(png) as image:
        image.verify()
        assert image.format == "PNG"
        assert len(image.info["Fingerprint"]) == 32
    page = tmp_path / "page.html"
    call(capsys, *flags, "--html", page)
    call(capsys, *flags, "--html", page, "--check")
    zoo.probe("net", HEADS | {"feature5": 52.0})
    with pytest.raises(SystemExit):
        call(capsys, *flags, "--html", page, "--check")
    assert f"{page} is stale\n" in capsys.readouterr().out
    zoo.probe("net", HEADS | {"feature5": 51.0})
    other = re.sub('base64,.*?"', 'base64,AAAA"', page.read_text())
    for content in (page.read_text().replace("51.00", "51.01"), other, other.replace('A"', '"')):
        assert content != page.read_text()
        (tmp_path / "other.html").write_text(content)
        with pytest.raises(SystemExit):
            call(capsys, *flags, "--html", tmp_path / "other.html", "--check")
        assert "other.html is stale\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call(capsys, *flags, "--html", tmp_path / "none.html", "--check")
    assert "none.html is missing\n" in capsys.readouterr().out
    svg.write_bytes(b"<svg/>")
    with pytest.raises(SystemExit):
        call(capsys, *flags, "--check")
