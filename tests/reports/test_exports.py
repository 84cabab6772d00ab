"""CSV, LaTeX and metadata hold the same figures as the tables."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.places205_linear import PLACES205_LINEAR
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.results import Split
from reports.__main__ import main
from reports.collect import collect
from reports.footnotes import footnotes
from reports.formats.exports import measured_csv, plain, to_csv
from reports.formats.latex import latex_escape, measured_latex, to_latex
from reports.formats.metadata import to_metafile, to_model_index, to_yaml
from reports.measured import Measured, measured_tables
from reports.tables import KINDS, Cell, Row, Table
from tests.reports.conftest import IMAGES


@pytest.fixture
def measured(zoo: Any) -> list[Measured]:
    zoo.deepcluster()
    zoo.with_(weights="random:resnet50:True:0").probe("random-sobel_resnet50", {"feature5": 6.543})
    return measured_tables(collect(zoo.path))


def test_csv_has_one_line_a_cell_at_full_precision(measured: list[Measured]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([item.table for item in measured]))))
    cells = {(row["table"], row["name"], row["column"]): row for row in rows}
    assert len(cells) == len(rows) == 10 + 6 * 2 + 5
    name = "sobel_resnet50_8xb64-steplr-200e"
    assert cells["voc-svm", name, "Best Layer"]["text"] == "feature5"
    assert float(cells["voc-svm", name, "k=64"]["value"]) == 70.0
    assert cells["imagenet-linear", "random-sobel_resnet50", "Feature5"]["value"] == "6.543"
    assert cells["imagenet-linear", "random-sobel_resnet50", "Feature1"]["value"] == ""


def test_latex_is_booktabs(measured: list[Measured]) -> None:
    text = to_latex([item.table for item in measured], bold=True)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
    assert (
        r"sobel\_resnet50\_8xb64-steplr-200e & 12.78 & 30.81 & 43.88 & 57.71 & \textbf{51.68} "
        r"& 46.92 \\"
    ) in text
    assert r"random-sobel\_resnet50 & -- & -- & -- & -- & 6.54 & -- \\" in text


def test_footnotes_reach_csv_and_latex(measured: list[Measured]) -> None:
    rows = list(csv.DictReader(io.StringIO(measured_csv(measured))))
    latex = measured_latex(measured)
    for item in measured:
        notes = [plain(note) for note in footnotes(item)]
        assert len(notes) >= 2  # the protocol and the software at least
        table = [row for row in rows if row["table"] == item.kind.key]
        assert [row["text"] for row in table if row["column"].startswith("note")] == notes
        for note in notes:
            assert f"\n% {note}\n" in latex
    cells = [row for row in rows if not row["column"].startswith("note")]
    assert cells == list(csv.DictReader(io.StringIO(to_csv([item.table for item in measured]))))


def below(latex: str) -> list[str]:
    """What is printed below each table, its lines joined; each line spans all its columns."""
    texts = []
    for table in latex.split(r"\begin{tabular}")[1:]:
        columns = table.partition("}")[0].removeprefix("{")
        lines = table.partition("\\bottomrule\n")[2].partition(r"\end{tabular}")[0].splitlines()
        begin, end = rf"\multicolumn{{{len(columns)}}}{{l}}{{", r"} \\"
        assert all(line.startswith(begin) and line.endswith(end) for line in lines)
        inner = [line.removeprefix(begin).removesuffix(end) for line in lines]
        assert all(one.count("{") == one.count("}") for one in inner)
        assert max(map(len, inner), default=0) < 140
        texts.append(" ".join(inner))
    return texts


def test_what_a_paper_s_reader_must_know_is_printed_below_the_table(zoo: Any) -> None:
    """In which conditions the rows differ, and of what ± is, not in comments alone."""
    for seed, top1 in ((0, 50.0), (1, 51.0)):
        zoo.probe("a", {"feature5": top1}, seed=seed, precision="tf32")
    zoo.with_(weights="b").probe("b", {"feature5": 40.0}, seed=3, precision="amp")
    for name, solver, layers in (("a", "gram", (4, 5)), ("b", "liblinear", (5,))):
        settings = to_builtins(VOC07_SVM) | {"solver": solver}
        maps = {f"feature{stage}": 60.0 + stage for stage in layers}
        mine = zoo.with_(weights="b") if name == "b" else zoo
        mine.svm(name, maps, settings=settings, precision="fp32")
    svm, linear = below(measured_latex(measured_tables(collect(zoo.path), seeds=True), seeds=True))
    assert svm == (
        "SVM: b: feature5 alone, no other layer was measured; solver gram (a), liblinear (b)."
    )
    assert linear == (
        r"Feature1 - Feature5: precision tf32 (a), amp (b); mean $\pm$ sample standard deviation "
        "over seeds 0, 1 (a) and seed 3 (b)."
    )
    _, plainly = below(measured_latex(measured_tables(collect(zoo.path))))
    assert plainly.endswith("seed 0 (a) and seed 3 (b).")  # not that the zoo has more
    assert r"\pm" not in plainly


def test_nothing_is_printed_below_tables_of_rows_that_were_measured_alike(
    measured: list[Measured],
) -> None:
    assert below(to_latex([one.table for one in measured])) == ["", "", ""]
    zoo_of_one = [one for one in measured if one.kind.key == "places205-linear"]
    assert below(measured_latex(zoo_of_one)) == [""]


def test_tables_that_were_measured_otherwise_say_so_in_print(zoo: Any) -> None:
    for precision, top1 in (("tf32", 50.0), ("amp", 40.0)):
        zoo.probe("net", {"feature5": top1}, precision=precision, key=precision)
    custom = replace(IMAGENET_LINEAR, variant="custom", epochs=10)
    zoo.probe("net", {"feature5": 30.0}, custom)
    assert below(measured_latex(measured_tables(collect(zoo.path)))) == [
        "ImageNet Linear Evaluation, table 1 of 2. Measured otherwise than 2 of 2: Feature1 - "
        "Feature5 with precision tf32 instead of amp.",
        "ImageNet Linear Evaluation, table 2 of 2. Measured otherwise than 1 of 2: Feature1 - "
        "Feature5 with precision amp instead of tf32.",
        "Feature1 - Feature5: epochs 10 instead of 90.",
    ]


def test_the_interval_behind_the_sign_is_said_in_print(measured: list[Measured]) -> None:
    note = (
        "**±**: half the 95 % interval (bootstrap). 1 figure has no interval: x, as x.json is old."
    )
    linear = next(one for one in measured if one.kind.key == "places205-linear")
    rows = tuple(
        replace(row, cells={name: _with_interval(cell) for name, cell in row.cells.items()})
        for row in linear.table.rows
    )
    sure = replace(linear, intervals=note, table=replace(linear.table, rows=rows))
    assert below(measured_latex([sure])) == [r"$\pm$: half the 95 \% interval (bootstrap)."]
    assert below(measured_latex([replace(linear, intervals="No intervals: x.")])) == [""]


def test_pdflatex_takes_the_lines_below_a_table(zoo: Any, tmp_path: Path) -> None:
    for seed in (0, 1):
        zoo.probe("a_b", {"feature5": 50.0 + seed}, seed=seed, precision="tf32")
    zoo.with_(weights="b").probe("c--d", {"feature5": 40.0}, precision="amp")
    few = {"train": Split(1000, 10, "e" * 64), "val": Split(500, 10, "f" * 64)}
    zoo.probe("few", {"feature5": 90.0}, data=few)
    tables = measured_tables(collect(zoo.path), seeds=True)
    text = measured_latex(tables, seeds=True)
    assert any(r"$\pm$" in one for one in below(text))
    assert "Missing character" not in typeset(tmp_path, text, "pdflatex")


def printed_beside(zoo: Any, capsys: Any, *flags: str) -> list[str]:
    """What stands below each table of a comparison with the published rows."""
    main(["--zoo", str(zoo.path), "--compare", "--format", "latex", *flags])
    return below(capsys.readouterr().out)


def test_what_a_paper_s_reader_must_know_stands_below_a_comparison_too(
    zoo: Any, capsys: Any
) -> None:
    for seed in (0, 1):
        zoo.probe("a", {"feature5": 50.0 + seed}, seed=seed, precision="tf32")
    zoo.with_(weights="b").probe("b", {"feature5": 40.0}, seed=3, precision="amp")
    few = {"train": Split(1000, 10, "e" * 64), "val": Split(500, 10, "f" * 64)}
    zoo.probe("few", {"feature5": 90.0}, data=few)
    alike = "Feature1 - Feature5: precision tf32 (a), amp (b); "
    apart = (
        " ImageNet Linear Evaluation, table 1 of 2. Measured otherwise than 2 of 2: 1,281,167 "
        "train images of 1000 classes instead of 1,000 of 10; 50,000 val images of 1000 classes "
        "instead of 500 of 10."
    )
    # The second table, of a thousand images, is left out, as no row of it is shown.
    seeds = "seed 0 (a) and seed 3 (b)."
    assert printed_beside(zoo, capsys) == [alike + seeds + apart]
    spread = r"mean $\pm$ sample standard deviation over seeds 0, 1 (a) and seed 3 (b)."
    assert printed_beside(zoo, capsys, "--seeds") == [alike + spread + apart]


def test_whence_features_and_layers_are_is_printed(zoo: Any) -> None:
    zoo.with_(weights="features:1").svm("given", {"feature5": 70.0})
    zoo.low_shot("few", {"feature4": [10.0] * 8, "feature5": [20.0] * 8})
    (svm,) = below(measured_latex(measured_tables(collect(zoo.path))))
    assert svm.startswith(
        "SVM: given: features from files, by whatever trunk and images; given: feature5 alone, no "
        "other layer was measured."
    )
    assert svm.endswith(
        "Best Layer without an SVM: the best low-shot layer at the highest k (few)."
    )


def test_figures_that_are_not_of_the_real_data_say_so_in_print(zoo: Any) -> None:
    few = {"train": Split(1000, 10, "e" * 64), "val": Split(500, 10, "f" * 64)}
    zoo.probe("few", {"feature5": 90.0}, data=few)
    (printed_below,) = below(measured_latex(measured_tables(collect(zoo.path))))
    assert printed_below.startswith(
        "Not the real data: measured on 1,000 of 1,281,167 train images, 10 of 1,000 classes; 500 "
        "of 50,000 val images, 10 of 1,000 classes of ImageNet-1k."
    )


def test_latex_spreads_are_in_math_mode() -> None:
    row = Row("a", None, {"SVM": Cell(70.0, 0.5)})
    table = Table(KINDS["voc-svm"], "mmselfsup", ("SVM",), (row,))
    assert r"a & 70.00 $\pm$ 0.50 \\" in to_latex([table])


def test_latex_marks_are_escaped() -> None:
    assert latex_escape("50% of a_b & $x$ #1 {c} ~^\\ [d]") == (
        r"50\% of a\_b \& \$x\$ \#1 \{c\} \textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"{[}d{]}"
    )
    assert latex_escape("*a") == "{*}a"  # not the star of the line break before it


def test_latex_characters_that_fonts_would_join_stand_apart() -> None:
    assert latex_escape("swav--2x") == r"swav-\kern0pt{}-2x"
    assert latex_escape("a---b") == r"a-\kern0pt{}-\kern0pt{}-b"
    assert latex_escape("x-y, z") == "x-y, z"
    assert latex_escape("?`!`") == r"?\textasciigrave{}!\textasciigrave{}"
    assert latex_escape("it's") == r"it\textquotesingle{}s"
    assert latex_escape('"') == r"\texttt{\symbol{34}}"


# What TeX's text fonts (OT1, T1) and OpenType's tlig make one sign of, or draw otherwise.
JOINED = ("--", "``", "''", ",,", "<<", ">>", "?`", "!`", '"', "'", "`")


@given(st.text(st.sampled_from("-`'\",<>?!ab* \x07"), max_size=12))
def test_no_joined_characters_are_left(text: str) -> None:
    written = re.sub(r"\\[a-z]+(\d+pt)?(\{\\symbol\{\d+\}\}|\{\})", "#", latex_escape(text))
    assert not any(pair in written for pair in JOINED)


# By font and code: signs that a font draws where ASCII has another, in Knuth's encoding (OT1).
DRAWN = {
    "\x0b": "ff", "\x0c": "fi", "\x0d": "fl", "\x0e": "ffi", "\x0f": "ffl",
    "{": "\u2013", "|": "\u2014", "\\": "\u201c", '"': "\u201d", "<": "\u00a1", ">": "\u00bf",
    "'": "\u2019", "`": "\u2018",
}  # fmt: skip


def printed(dvi: bytes) -> str:
    """The characters that a DVI file sets, in order and without blanks."""
    fonts: dict[int, str] = {}
    shown, font, at = "", "", 0
    skipped = {132: 8, 133: 1, 137: 8, 138: 0, 139: 44, 140: 0, 141: 0, 142: 0}
    for start, numbers in ((143, 4), (148, 4), (153, 4), (157, 4), (162, 4), (167, 4)):
        skipped |= {start + number: number + 1 for number in range(numbers)}
    skipped |= {147: 0, 152: 0, 161: 0, 166: 0}
    while dvi[at] != 248:
        code = dvi[at]
        at += 1
        if code <= 128:
            if code == 128:
                code, at = dvi[at], at + 1
            sign = chr(code)
            shown += DRAWN.get(sign, sign) if font.startswith("cmr") else sign
        elif code == 247:
            at += 14 + dvi[at + 13]
        elif 243 <= code <= 246:
            size = code - 242
            number = int.from_bytes(dvi[at : at + size])
            length = dvi[at + size + 12] + dvi[at + size + 13]
            at += size + 14
            fonts[number] = dvi[at : at + length].decode("ascii")
            at += length
        elif 171 <= code <= 234:
            font = fonts[code - 171]
        elif 239 <= code <= 242:
            size = code - 238
            at += size + int.from_bytes(dvi[at : at + size])
        else:
            at += skipped[code]
    return shown


def typeset(folder: Path, body: str, *command: str) -> str:
    """Compile `body` by `command`; what it says. Skips where there is none."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}: apt-get install texlive-latex-base runs this test")
    rules = "".join(rf"\let\{name}rule\hline" for name in ("top", "mid", "bottom"))
    head = rf"\documentclass{{article}}\pagestyle{{empty}}{rules}\begin{{document}}\noindent"
    (folder / "x.tex").write_text(f"{head}\n{body}\\end{{document}}\n")
    flags = ("-interaction=nonstopmode", "-halt-on-error", "x.tex")
    done = subprocess.run(
        [*command, *flags], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@pytest.mark.parametrize("command", [("latex",), ("pdflatex", "-output-format=dvi")])
def test_latex_itself_prints_the_names_of_the_rows(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    names = [
        *("swav--2x", "a---b", "''x''", "``y``", "?`z", "!`w", "it's", '"q"', "a`b"),
        *("-", "----", "<<u>>", "*star", "[br]", "office-ffi"),
    ]
    table = Table(KINDS["voc-svm"], "mmselfsup", (), tuple(Row(name, None) for name in names))
    typeset(tmp_path, to_latex([table]), *command)
    shown = printed((tmp_path / "x.dvi").read_bytes())
    assert shown == "Self-SupervisedConfig" + "".join(names)


def test_pdflatex_takes_every_table_with_its_intervals(
    measured: list[Measured], tmp_path: Path
) -> None:
    sure = []
    for item in measured:
        rows = [
            replace(row, cells={name: _with_interval(cell) for name, cell in row.cells.items()})
            for row in item.table.rows
        ]
        sure.append(replace(item.table, rows=tuple(rows)))
    text = to_latex(sure, bold=True)
    assert r"74.26 $\pm$ 0.62" in text
    said = typeset(tmp_path, text, "pdflatex")
    assert "Missing character" not in said
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")


def _with_interval(cell: Cell) -> Cell:
    if cell.value is None:
        return cell
    return replace(cell, low=cell.value - 0.62, high=cell.value + 0.62)


def test_the_model_index_package_finds_no_fault_in_the_metafile(
    measured: list[Measured], zoo: Any, tmp_path: Path
) -> None:
    """Its command ends with 0 on faults too: what it prints is what counts.

    It must not stand beside this project: it installs a package of its own called tests.
    """
    if shutil.which("mi") is None:
        pytest.skip("no mi on PATH: pipx install model-index runs this test")
    path = tmp_path / "metafile.yml"
    path.write_text(to_metafile(measured, collect(zoo.path).cards))
    assert checked(path) == f"Checking {path}\nAll good!\n"
    path.write_text(path.read_text().replace("- Name: random-sobel_resnet50", "- Name: ''"))
    assert "Field 'Name' cannot be empty" in checked(path)  # so it does look


def checked(path: Path) -> str:
    """What model-index says of a file."""
    command = ["mi", "check", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_metafile_has_the_form_of_openmmlab(measured: list[Measured], zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.card(name, method="deepcluster", pretraining={"epochs": 200})
    document = yaml.safe_load(to_metafile(measured, collect(zoo.path).cards))
    assert [group["Name"] for group in document["Collections"]] == ["deepcluster", "Random"] or [
        group["Name"] for group in document["Collections"]
    ] == ["Random", "deepcluster"]
    models = {model["Name"]: model for model in document["Models"]}
    model = models[name]
    assert model["In Collection"] == "deepcluster"
    assert model["Metadata"]["Epochs"] == 200
    assert model["Config"].endswith("_in1k.py")
    results = {result["Dataset"].split(" ")[0]: result["Metrics"] for result in model["Results"]}
    assert results["VOC2007"]["k=1"] == 29.37
    assert results["ImageNet-1k"]["AvgPool"] == 46.92
    assert results["Places205"]["Feature4"] == 47.22
    assert models["random-sobel_resnet50"]["In Collection"] == "Random"


def test_the_model_index_has_the_form_of_model_cards(measured: list[Measured]) -> None:
    documents = list(yaml.safe_load_all(to_model_index(measured)))
    assert all(len(document["model-index"]) == 1 for document in documents)
    models = [document["model-index"][0] for document in documents]
    model = next(m for m in models if m["name"].startswith("sobel"))
    places = next(r for r in model["results"] if r["dataset"]["type"] == "places205-linear")
    assert places["task"] == {"type": "image-classification"}
    assert places["metrics"][3]["value"] == 47.22
    assert places["metrics"][3]["type"] == "accuracy"
    imagenet = next(r for r in model["results"] if r["dataset"]["type"] == "imagenet-linear")
    names = [metric["name"] for metric in imagenet["metrics"]]
    assert names[0] == "Feature1 (resnet50_mhead_linear-8xb32-steplr-90e_in1k)"
    assert names[-1] == "AvgPool (resnet50_linear-8xb32-steplr-100e_in1k)"


def test_the_reader_of_model_cards_gives_each_figure_to_its_checkpoint(zoo: Any) -> None:
    """huggingface_hub is timm's dependency; it reads an index of several models as one."""
    tops = {"first": 10.0, "second": 20.0, "third--2x": 30.0}
    for name, top1 in tops.items():
        zoo.probe(name, {"feature5": top1})
        zoo.svm(name, {"feature5": top1 + 1})
    text = to_model_index(measured_tables(collect(zoo.path)))
    blocks = text.split("---\n")
    assert len(blocks) == 3
    found = {}
    for block in blocks:
        card = ModelCard(f"---\n{block}---\n\n# A model\n")
        results = card.data.eval_results
        found[card.data.model_name] = sorted(result.metric_value for result in results)
        again = ModelCard(str(card)).data  # as huggingface_hub writes it
        assert (again.model_name, again.eval_results) == (card.data.model_name, results)
    assert found == {name: [top1, top1 + 1] for name, top1 in tops.items()}


def test_a_model_card_has_names_protocols_and_intervals(zoo: Any) -> None:
    """As huggingface_hub reads them, each beside its figure."""
    zoo.deepcluster("net")
    tables = []
    for item in measured_tables(collect(zoo.path)):
        rows = [
            replace(row, cells={name: _with_interval(cell) for name, cell in row.cells.items()})
            for row in item.table.rows
        ]
        tables.append(replace(item, table=replace(item.table, rows=tuple(rows))))
    card = ModelCard(f"---\n{to_model_index(tables)}---\n")
    assert card.data.model_name == "net"
    found = {result.metric_name: result for result in card.data.eval_results}
    assert len(found) == 9 + 6 + 5
    svm = found["SVM (voc07_svm)"]
    assert (svm.dataset_name, svm.metric_type) == ("VOC2007", "mean_average_precision")
    assert (svm.metric_value, svm.metric_args) == (74.26, {"interval_95": [73.64, 74.88]})
    assert found["k=1 (voc07_low_shot_svm)"].metric_value == 29.37
    again = ModelCard(str(card)).data  # as huggingface_hub writes it
    assert again.eval_results == card.data.eval_results
    plain = ModelCard(f"---\n{to_model_index(measured_tables(collect(zoo.path)))}---\n")
    assert all(result.metric_args is None for result in plain.data.eval_results)


def test_figures_of_changed_numbers_bear_the_change_beside_the_protocol_s_name(zoo: Any) -> None:
    """Pasted on a model card, one epoch must not read as the published ninety."""
    zoo.probe("net", {"feature5": 50.0})
    once = replace(IMAGENET_LINEAR, variant="custom", epochs=1)
    zoo.probe("net", {"feature5": 40.0}, once, key="once")
    for epochs, seed in ((2, 1), (3, 2)):
        rate = replace(PLACES205_LINEAR, variant="custom", epochs=epochs)
        zoo.probe("net", {"feature5": 40.0}, rate, seed=seed)
    collection = collect(zoo.path)
    tables = measured_tables(collection)
    changed = "custom, epochs 1 instead of 90"
    name = IMAGENET_LINEAR.name
    places = PLACES205_LINEAR.name
    assert model_names(tables) == [
        f"Feature5 ({name})",
        f"Feature5 ({name}, {changed})",
        *(f"Feature5 ({places}, custom, epochs {epochs} instead of 28)" for epochs in (2, 3)),
    ]
    model = yaml.safe_load(to_metafile(tables, collection.cards))["Models"][0]
    datasets = [result["Dataset"] for result in model["Results"]]
    whose = "Feature1 - Feature5 epochs 1 instead of 90"
    assert datasets[:2] == [f"ImageNet-1k ({name})", f"ImageNet-1k ({name}, custom, {whose})"]
    latex = measured_latex(tables)
    assert f"% ImageNet Linear Evaluation, variant custom, {whose}, F" in latex


def model_names(measured: list[Measured]) -> list[str]:
    """The names of the figures of one checkpoint's model card."""
    (document,) = yaml.safe_load_all(to_model_index(measured))
    results = document["model-index"][0]["results"]
    return [metric["name"] for result in results for metric in result["metrics"]]


def test_changed_numbers_are_of_their_own_part_alone(zoo: Any) -> None:
    """Ten epochs of the heads, and another learning rate of AvgPool: one table, two changes."""
    heads = replace(IMAGENET_LINEAR, variant="custom", epochs=10)
    avgpool = replace(IMAGENET_AVGPOOL, variant="custom", learning_rate=1.0)
    zoo.probe("net", {"feature5": 40.0}, heads)
    zoo.probe("net", {"avgpool": 50.0}, avgpool)
    collection = collect(zoo.path)
    tables = measured_tables(collection)
    assert model_names(tables) == [
        f"Feature5 ({heads.name}, custom, epochs 10 instead of 90)",
        f"AvgPool ({avgpool.name}, custom, learning_rate 1.0 instead of 30.0)",
    ]
    said = "Feature1 - Feature5 epochs 10 instead of 90, AvgPool learning_rate 1.0 instead of 30.0"
    (model,) = yaml.safe_load(to_metafile(tables, collection.cards))["Models"]
    (result,) = model["Results"]
    assert result["Dataset"] == f"ImageNet-1k ({heads.name}, {avgpool.name}, custom, {said})"
    first = measured_latex(tables).splitlines()[0]
    assert first.startswith(f"% ImageNet Linear Evaluation, variant custom, {said}, Feature1")


def test_a_model_card_says_the_values_that_tell_tables_apart(zoo: Any) -> None:
    for precision, top1 in (("tf32", 50.0), ("amp", 40.0)):
        zoo.probe("net", {"feature5": top1}, precision=precision, key=precision)
    other = IMAGES | {"train": Split(1281167, 1000, "e" * 64)}
    zoo.probe("net", {"avgpool": 30.0}, IMAGENET_AVGPOOL, precision="tf32")
    zoo.probe("net", {"avgpool": 20.0}, IMAGENET_AVGPOOL, data=other, key="other")
    collection = collect(zoo.path)
    tables = measured_tables(collection)
    otherwise = "of 3, measured otherwise:"
    usual, unusual = (
        f"1,281,167 train images of 1000 classes, list {8 * letter}" for letter in "ce"
    )
    heads, avgpool = IMAGENET_LINEAR.name, IMAGENET_AVGPOOL.name
    assert model_names(tables) == [
        f"Feature5 ({heads}, 1 {otherwise} precision tf32)",
        f"AvgPool ({avgpool}, 1 {otherwise} {usual})",
        f"Feature5 ({heads}, 2 {otherwise} precision amp)",
        f"AvgPool ({avgpool}, 3 {otherwise} {unusual})",
    ]
    (model,) = yaml.safe_load(to_metafile(tables, collection.cards))["Models"]
    first = model["Results"][0]["Dataset"]
    said = f"Feature1 - Feature5 precision tf32, AvgPool {usual}"
    assert first == f"ImageNet-1k ({heads}, {avgpool}, 1 {otherwise} {said})"


def test_figures_that_nothing_else_was_measured_like_are_not_called_otherwise(zoo: Any) -> None:
    """Heads in two precisions and of an earlier build; AvgPool once, beside the earlier build's."""
    for precision, top1 in (("fp32", 50.0), ("tf32", 51.0)):
        zoo.probe("a", {"feature5": top1}, precision=precision, key=precision)
    zoo.probe("c", {"feature5": 52.0})
    zoo.probe("a", {"avgpool": 60.0}, IMAGENET_AVGPOOL)
    collection = collect(zoo.path)
    tables = measured_tables(collection)
    heads, avgpool = IMAGENET_LINEAR.name, IMAGENET_AVGPOOL.name
    names = [
        metric["name"]
        for document in yaml.safe_load_all(to_model_index(tables))
        for result in document["model-index"][0]["results"]
        for metric in result["metrics"]
    ]
    assert f"AvgPool ({avgpool})" in names
    assert not [name for name in names if name.endswith("measured otherwise)")]
    models = yaml.safe_load(to_metafile(tables, collection.cards))["Models"]
    (alone,) = (
        result["Dataset"]
        for model in models
        for result in model["Results"]
        if "AvgPool" in result["Metrics"] and "Feature5" not in result["Metrics"]
    )
    assert alone == f"ImageNet-1k ({avgpool})"
    (earlier,) = next(model["Results"] for model in models if model["Name"] == "c")
    said = "3 of 3, measured otherwise: Feature1 - Feature5 precision (not recorded)"
    assert earlier["Dataset"] == f"ImageNet-1k ({heads}, {said})"


def test_a_model_card_says_in_what_its_row_differs_from_others_of_its_table(zoo: Any) -> None:
    """On cards the rows that share a table stand each alone; of files nobody knows a precision."""
    for name, precision, solver, top1 in (("a", "tf32", "gram", 50.0), ("b", "amp", "old", 40.0)):
        one = zoo.with_(weights=f"blake2b:{name}")
        one.probe(name, {"feature5": top1}, precision=precision)
        one.probe(name, {"feature5": top1}, seed=1, precision="fp32", key="1")
        one.probe(name, {"avgpool": top1}, IMAGENET_AVGPOOL, precision="tf32")
        maps = {"feature5": 60.0} if name == "b" else {"feature4": 50.0, "feature5": 60.0}
        one.svm(name, maps, settings=to_builtins(VOC07_SVM) | {"solver": solver})
    made = {"settings": to_builtins(VOC07_SVM) | {"solver": "gram"}}
    zoo.with_(weights="features:1").svm("c", {"feature5": 55.0}, precision="fp32", **made)
    collection = collect(zoo.path)
    tables = measured_tables(collection)
    documents = list(yaml.safe_load_all(to_model_index(tables)))
    found = {
        document["model-index"][0]["name"]: [
            metric["name"]
            for result in document["model-index"][0]["results"]
            for metric in result["metrics"]
        ]
        for document in documents
    }
    heads, avgpool = IMAGENET_LINEAR.name, f"AvgPool ({IMAGENET_AVGPOOL.name})"
    assert found == {
        "a": [
            "SVM (voc07_svm, solver gram, layers feature4, feature5)",
            f"Feature5 ({heads}, precision tf32)",
            avgpool,
        ],
        "b": [
            "SVM (voc07_svm, solver old, layers feature5)",
            f"Feature5 ({heads}, precision amp)",
            avgpool,
        ],
        "c": ["SVM (voc07_svm, solver gram, layers feature5)"],
    }
    models = yaml.safe_load(to_metafile(tables, collection.cards))["Models"]
    datasets = {model["Name"]: [one["Dataset"] for one in model["Results"]] for model in models}
    assert datasets["a"] == [
        "VOC2007 (voc07_svm, SVM solver gram, layers feature4, feature5)",
        f"ImageNet-1k ({heads}, {IMAGENET_AVGPOOL.name}, Feature1 - Feature5 precision tf32)",
    ]
    means = list(yaml.safe_load_all(to_model_index(measured_tables(collection, seeds=True))))
    said = str(means[0])
    assert f"Feature5 ({heads}, precision tf32 and fp32, mean over seeds 0, 1)" in said


def test_a_model_card_says_of_which_seeds_a_figure_is_the_mean(zoo: Any) -> None:
    for seed in (3, 5):
        zoo.probe("net", {"feature4": 10.0 + seed}, seed=seed)
    zoo.probe("net", {"avgpool": 30.0}, IMAGENET_AVGPOOL, seed=5)
    collection = collect(zoo.path)
    tables = measured_tables(collection, seeds=True)
    heads, avgpool = IMAGENET_LINEAR.name, IMAGENET_AVGPOOL.name
    assert model_names(tables) == [
        f"Feature4 ({heads}, mean over seeds 3, 5)",
        f"AvgPool ({avgpool})",
    ]
    metafile = to_metafile(tables, collection.cards)
    assert f"ImageNet-1k ({heads}, {avgpool}, mean over seeds 3, 5 (Feature4))" in metafile
    assert "mean over" not in to_model_index(measured_tables(collection))


def test_without_results_the_model_index_is_a_comment(zoo: Any) -> None:
    assert yaml.safe_load(to_model_index(measured_tables(collect(zoo.path)))) is None


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False),
    st.text(),
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abk= 1:-#", min_size=1), inner)
    ),
    max_leaves=12,
)


@given(documents)
def test_yaml_is_read_back_as_it_was(document: object) -> None:
    assert yaml.safe_load(to_yaml(document)) == document


def test_small_numbers_stay_numbers() -> None:
    """YAML 1.1 wants a point in a float: JSON's 1e-7 is text to PyYAML."""
    assert yaml.safe_load(to_yaml({"cost": 1e-7})) == {"cost": 1e-7}
