"""The two SVM commands as a user runs them, on real files."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import low_shot_svm, results, voc_svm
from benchmarks.__main__ import main as suite
from benchmarks.catalog.records import read_record
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.svm import full_item, low_shot_item
from benchmarks.svm.draws import draw, draws_path
from benchmarks.svm.source import file_source
from slurm import cli
from slurm.errors import UserError
from tests.benchmarks.svm.svm_data import Recipe, make, write
from tests.benchmarks.voc_data import write_voc

RECIPE = Recipe(rows=150, test_rows=60, dimensions=20, classes=3)


@pytest.fixture
def features(tmp_path: Path) -> Path:
    return write(tmp_path / "mine", make(RECIPE), layers=(4, 5))


def flags(folder: Path, *more: str) -> list[str]:
    zoo = str(folder.parent / "zoo")
    common = ["--features", str(folder), "--labels", str(folder), "--zoo", zoo, "--device", "cpu"]
    return [*common, *more]


def run_json(command: Any, folder: Path, *more: str) -> dict[str, Any]:
    path = folder.parent / "out.json"
    command.main(flags(folder, "--json", str(path), *more))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_full_record_has_all_that_the_contract_names(features: Path) -> None:
    record = run_json(voc_svm, features)
    assert record["benchmark"] == "voc07_svm"
    assert record["checkpoint"]["name"] == "mine"
    assert set(record["layers"]) == {"feature4", "feature5"}
    layer = record["layers"]["feature5"]
    assert len(layer["ap"]) == len(layer["cost"]) == 3
    assert np.array(layer["cv_ap"]).shape == (3, 19)
    assert layer["map"] == pytest.approx(np.mean(layer["ap"]))
    # both layers hold the same features here; the first of equals is the best
    assert record["best_layer"] == "feature4"
    assert record["data"]["trainval"]["images"] == 150
    assert record["notes"] == []
    stored = list((features.parent / "zoo/results/mine/voc07_svm").glob("*.json"))
    assert len(stored) == 1
    assert isinstance(read_record(stored[0]), results.VocSvmRecord)


def test_class_names_that_were_permuted_are_never_those_of_an_old_record(features: Path) -> None:
    """The labels are the same: only classes.json says of which class each AP is."""
    named = {}
    for names in (["ant", "bee", "cow"], ["bee", "ant", "cow"]):
        (features / "classes.json").write_text(json.dumps(names))
        record = run_json(voc_svm, features, "--layers", "feature5")
        named[tuple(record["classes"])] = record["layers"]["feature5"]["ap"]
    assert set(named) == {("ant", "bee", "cow"), ("bee", "ant", "cow")}
    assert len(list((features.parent / "zoo/results/mine/voc07_svm").glob("*.json"))) == 2


def test_names_that_only_number_the_classes_are_in_no_key(features: Path) -> None:
    """So that what earlier builds measured is found again."""
    plain = file_source(features.parent / "zoo", features, features, VOC07_SVM)
    for names in (["class1", "class2", "class3"], ["digit0", "digit1", "digit2"]):
        (features / "classes.json").write_text(json.dumps(names))
        source = file_source(features.parent / "zoo", features, features, VOC07_SVM)
        assert source.inputs("feature5") == plain.inputs("feature5")
    (features / "classes.json").write_text(json.dumps(["class2", "class1", "class3"]))
    source = file_source(features.parent / "zoo", features, features, VOC07_SVM)
    assert source.inputs("feature5") != plain.inputs("feature5")


def test_classes_that_were_renamed_after_planning_are_not_measured(features: Path) -> None:
    source = file_source(features.parent / "zoo", features, features, VOC07_SVM)
    (features / "classes.json").write_text(json.dumps(["ant", "bee", "cow"]))
    with pytest.raises(UserError, match=r"classes\.json was changed after this run was planned"):
        source.read("feature5")


def test_low_shot_record_and_its_draws(features: Path) -> None:
    record = run_json(low_shot_svm, features, "--shots", "1,2", "--samples", "3")
    assert record["selection"] == "test"
    shots = record["layers"]["feature5"]["shots"]
    assert list(shots) == ["1", "2"]
    assert len(shots["2"]["by_cost"]) == 19
    best = shots["2"]["by_cost"][repr(shots["2"]["cost"])]
    assert shots["2"]["mean"] == pytest.approx(np.mean(best))
    assert [np.mean(v) for v in shots["2"]["by_cost"].values()] <= [shots["2"]["mean"]] * 19
    # every layer saw the same draws
    assert record["layers"]["feature4"]["shots"]["1"]["by_cost"] == shots["1"]["by_cost"]
    files = sorted((features.parent / "zoo/low_shot").glob("*/*.npy"))
    assert [p.name for p in files] == [
        f"train_targets_sample{s}_k{k}.npy" for s in (1, 2, 3) for k in (1, 2)
    ]


def test_the_draws_that_are_left_are_those_that_were_used(features: Path) -> None:
    """Other numbers of negatives are other draws: none are left under the name of these."""
    more = flags(features, "--shots", "1", "--samples", "1", "--layers", "feature5")
    low_shot_svm.main([*more, "--set", "negatives_per_positive=3"])
    low_shot_svm.main(more)
    files = (features.parent / "zoo/low_shot").glob("*/train_targets_sample1_k1.npy")
    assert sorted(int((np.load(file)[:, 0] == 0).sum()) for file in files) == [3, 19]


def test_official_draws_are_used_when_they_are_there(features: Path) -> None:
    more = ("--shots", "1", "--samples", "2", "--layers", "feature5")
    ours = run_json(low_shot_svm, features, *more)
    folder = features / "low_shot" / "labels"
    folder.mkdir(parents=True)
    data = make(RECIPE)
    for sample in (1, 2):
        targets = draw(data.train_labels, data.classes, sample, 1, 19, seed=77)
        np.save(draws_path(folder, sample, 1), targets)
    official = run_json(low_shot_svm, features, *more)
    assert official["settings"]["draws"]["1"].startswith("official:")
    assert official["layers"] != ours["layers"]


def test_a_finished_layer_is_not_computed_again(
    features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voc_svm.main(flags(features, "--layers", "feature4"))
    ran: list[str] = []
    original = full_item.VocSvmLayer.run

    def spy(item: full_item.VocSvmLayer) -> None:
        ran.append(item.layer)
        original(item)

    monkeypatch.setattr(full_item.VocSvmLayer, "run", spy)
    voc_svm.main(flags(features))
    assert ran == ["feature5"]
    voc_svm.main(flags(features))
    assert ran == ["feature5"]
    path = features / "voc07_test_feat5.npy"
    np.save(path, np.load(path) + 1)  # other features are another result
    voc_svm.main(flags(features))
    assert ran == ["feature5", "feature5"]


def test_a_zoo_in_which_all_is_done_is_only_read(features: Path, tmp_path: Path) -> None:
    """So one on a filesystem that cannot be written will do; the user's file is still written."""

    def changes() -> dict[Path, int]:
        zoo = tmp_path / "zoo"
        return {path: path.stat().st_mtime_ns for path in [zoo, *zoo.rglob("*")]}

    record = run_json(voc_svm, features)
    before = changes()
    assert run_json(voc_svm, features) == record
    voc_svm.main(flags(features, "--dry-run"))
    assert changes() == before


def test_each_k_is_kept_as_soon_as_it_exists(
    features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = low_shot_item.LowShot.run

    def stop_at_two(item: low_shot_item.LowShot) -> None:
        if item.k == 2:
            raise KeyboardInterrupt
        original(item)

    monkeypatch.setattr(low_shot_item.LowShot, "run", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        low_shot_svm.main(flags(features, "--layers", "feature5", "--shots", "1,2"))
    parts = features.parent / "zoo/results/mine/voc07_low_shot_svm/parts"
    assert [p.name.split("-")[1] for p in parts.glob("*.json")] == ["k1"]


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("command", "shots", "harm", "says"),
    [
        (low_shot_svm, ["--shots", "1,50"], None, "class class1 has 13 positives .*k=50 needs 50"),
        (low_shot_svm, [], ("test", 0), "class class2 has no positives in test"),
        (low_shot_svm, [], ("test", 1), "class class2 has no negatives in test"),
        (low_shot_svm, [], ("train", 0), "class class2 has 0 positives in trainval, k=1 needs"),
        (voc_svm, [], ("train", 0), "class class2 has 0 positives in trainval; 3 stratified"),
        (voc_svm, [], ("train", 1), "class class2 has no negatives in trainval"),
        (voc_svm, [], ("test", 0), "class class2 has no positives in test"),
        (voc_svm, [], ("test", 1), "class class2 has no negatives in test"),
    ],
)
def test_a_class_that_is_too_small_is_found_when_planning(
    features: Path,
    command: Any,
    shots: list[str],
    harm: tuple[str, int] | None,
    says: str,
    more: list[str],
) -> None:
    if harm:
        path = features / f"{harm[0]}_labels.npy"
        labels = np.load(path)
        labels[:, 1] = harm[1]
        np.save(path, labels)
    shots = shots or (["--shots", "1"] if command is low_shot_svm else [])
    benchmark = "voc07_svm" if command is voc_svm else "voc07_low_shot_svm"
    with pytest.raises(UserError, match=f"^mine {benchmark}: {says}"):
        command.main(flags(features, *shots, *more))
    assert not (features.parent / "zoo").exists()


def save_draws(folder: Path, k: int, samples: int, form: Any = np.asarray) -> None:
    """The official files, by a generator of their own."""
    (folder / "low_shot" / "labels").mkdir(parents=True, exist_ok=True)
    labels = np.load(folder / "train_labels.npy")
    for sample in range(1, samples + 1):
        draws = np.random.default_rng(100 * k + sample)
        targets = np.full(labels.shape, -1)
        for column in range(labels.shape[1]):
            for value, count in ((1, k), (0, 19 * k)):
                rows = np.flatnonzero(labels[:, column] == value)
                targets[draws.permutation(rows)[:count], column] = value
        np.save(folder / f"low_shot/labels/train_targets_sample{sample}_k{k}.npy", form(targets))


@pytest.mark.parametrize(
    "name", ["voc07_trainval_feat5.npy", "voc07_test_feat5.npy", "train_labels.npy"]
)
def test_files_changed_after_the_plan_are_refused(features: Path, name: str) -> None:
    source = file_source(features.parent / "zoo", features, features, VOC07_SVM)
    layer = next(item for item in full_item.VocSvm(source, VOC07_SVM).needs if "5" in item.layer)
    np.save(features / name, np.load(features / name)[::-1])
    with pytest.raises(UserError, match=rf"{name}.* was changed after this run was planned"):
        layer.run()
    assert not layer.done()


def test_names_kept_for_random_trunks_are_refused(features: Path) -> None:
    assert "kept for random trunks" in _fail(voc_svm, features, "--name", "random-resnet50")
    folder = features.rename(features.parent / "random-resnet50")
    assert "call the features otherwise with --name" in _fail(voc_svm, folder)


@pytest.mark.parametrize("gone", [False, True])
def test_official_draws_changed_after_the_plan_are_refused(features: Path, gone: bool) -> None:
    save_draws(features, 1, 2)
    protocol = replace(VOC07_LOW_SHOT, shots=(1,), samples=2)
    source = file_source(features.parent / "zoo", features, features, protocol)
    item = low_shot_item.VocLowShot(source, protocol).needs[0]
    if gone:  # they must not be drawn anew and be called official
        shutil.rmtree(features / "low_shot")
    else:
        folder = features / "low_shot/labels"
        shutil.copy(draws_path(folder, 1, 1), draws_path(folder, 2, 1))
    with pytest.raises(UserError, match="draw of k=1, was changed after this run was planned"):
        item.run()
    assert not item.done()


def to_voc(labels: np.ndarray) -> np.ndarray:
    """From 1, 0, -1 (present, absent, ignore) to VOC's own 1, -1, 0."""
    return np.choose(labels + 1, [0, -1, 1]).astype(labels.dtype)


@pytest.fixture
def voc_values(features: Path) -> Path:
    """The same features and labels, the labels in VOC's own convention."""
    save_draws(features, 1, 2)
    folder = features.parent / "voc"
    shutil.copytree(features, folder)
    for path in folder.rglob("*_labels.npy"):
        np.save(path, to_voc(np.load(path)))
    for path in folder.rglob("train_targets*.npy"):
        np.save(path, to_voc(np.load(path)))
    return folder


@pytest.mark.parametrize(
    ("command", "more"),
    [(voc_svm, []), (low_shot_svm, ["--shots", "1", "--samples", "2"])],
)
def test_both_conventions_of_labels_give_the_same_figures(
    features: Path, voc_values: Path, command: Any, more: list[str]
) -> None:
    ours = run_json(command, features, *more)
    theirs = run_json(command, voc_values, *more, "--label-values", "voc")
    assert theirs["layers"] == ours["layers"]
    assert ours["settings"]["label_values"] == "fair"
    assert theirs["settings"]["label_values"] == "voc"
    assert theirs["notes"] == ours["notes"] == []


def _fail(command: Any, folder: Path, *more: str) -> str:
    with pytest.raises(UserError) as caught:
        command.main(flags(folder, *more))
    assert not list(folder.parent.glob("zoo/*"))  # refused before anything is computed
    return str(caught.value)


def test_labels_of_the_other_convention_are_refused(features: Path, voc_values: Path) -> None:
    for command in (voc_svm, low_shot_svm):
        message = _fail(command, voc_values, "--dry-run")
        assert "voc/train_labels.npy, class 1" in message
        assert "1 present, -1 absent, 0 difficult, pass --label-values voc" in message
        message = _fail(command, features, "--label-values", "voc")
        assert "1 present, 0 absent, -1 ignore, pass --label-values fair" in message


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("more", [[], ["--label-values", "voc"], ["--label-values", "fair"]])
def test_two_conventions_in_two_files_are_refused(
    features: Path, split: str, more: list[str]
) -> None:
    path = features / f"{split}_labels.npy"
    np.save(path, to_voc(np.load(path)))
    message = _fail(voc_svm, features, *more)
    assert "write both files in one convention" in message
    assert "train_labels.npy" in message
    assert "test_labels.npy" in message


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_class_in_the_other_convention_is_refused(features: Path, split: str) -> None:
    path = features / f"{split}_labels.npy"
    labels = np.load(path)
    labels[:, 2] = to_voc(labels[:, 2])
    np.save(path, labels)
    assert f"{split}_labels.npy, class 3" in _fail(voc_svm, features)


def test_ones_and_minus_ones_alone_are_vocs(features: Path) -> None:
    for split in ("train", "test"):
        path = features / f"{split}_labels.npy"
        labels = np.load(path)
        np.save(path, np.where(labels == 1, 1, -1))
    assert "pass --label-values voc" in _fail(voc_svm, features)
    record = run_json(voc_svm, features, "--label-values", "voc", "--layers", "feature5")
    for split in ("train", "test"):
        path = features / f"{split}_labels.npy"
        np.save(path, np.where(np.load(path) == 1, 1, 0))
    plain = run_json(voc_svm, features, "--layers", "feature5")
    assert plain["layers"] == record["layers"]


def test_many_images_to_ignore_need_the_users_word_and_leave_a_note(features: Path) -> None:
    for split in ("train", "test"):
        path = features / f"{split}_labels.npy"
        labels = np.load(path)
        absent = np.flatnonzero(labels[:, 0] == 0)
        labels[absent[: int(0.7 * len(absent))], 0] = -1
        np.save(path, labels)
    more = ("--layers", "feature5")
    assert "where they are meant so, pass --label-values fair" in _fail(voc_svm, features, *more)
    record = run_json(voc_svm, features, *more, "--label-values", "fair")
    assert len(record["notes"]) == 2
    assert "train_labels.npy, class 1" in record["notes"][0]


def test_inverted_labels_leave_a_note(features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        path = features / f"{split}_labels.npy"
        labels = np.load(path)
        np.save(path, np.where(labels == -1, -1, 1 - labels))
    record = run_json(voc_svm, features, "--layers", "feature5")
    assert [note.endswith("are the labels inverted?") for note in record["notes"]] == [True, True]
    # Whoever runs the command reads its last lines, not the record.
    last = capsys.readouterr().err.splitlines()[-2:]
    name = record["checkpoint"]["name"]
    assert last == [f"note on {name} voc07_svm: {note}" for note in record["notes"]]


def _swap_columns(targets: np.ndarray) -> np.ndarray:
    return targets[:, ::-1]


def _shift_rows(targets: np.ndarray) -> np.ndarray:
    return np.roll(targets, 1, axis=0)


def _undrawn(targets: np.ndarray) -> np.ndarray:
    changed = targets.copy()
    changed[np.flatnonzero(targets[:, 1] == 0)[0], 1] = -1
    return changed


@pytest.mark.parametrize("change", [to_voc, _swap_columns, _shift_rows, _undrawn])
def test_draws_that_are_none_of_the_labels_are_refused(features: Path, change: Any) -> None:
    save_draws(features, 1, 2, form=change)
    message = _fail(low_shot_svm, features, "--shots", "1", "--samples", "2")
    assert "train_targets_sample1_k1.npy" in message
    assert "--label-values" in message


def test_a_missing_draw_says_which_there_are(features: Path) -> None:
    save_draws(features, 1, 2)
    save_draws(features, 2, 2)
    for more in (["--shots", "1,97", "--samples", "2"], ["--shots", "1,2", "--samples", "3"]):
        message = _fail(low_shot_svm, features, *more, "--dry-run")
        assert "is missing; there are train_targets_sample1_k1.npy" in message
        assert "choose --shots and --samples among them" in message


def test_dry_run_computes_nothing(features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voc_svm.main(flags(features, "--dry-run"))
    assert "voc_svm: 2 to run" in capsys.readouterr().out
    assert not (features.parent / "zoo").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--layers", "feature6"], "unknown layer 'feature6'; did you mean"),
        (["--protocol", "voc07_svn"], "unknown SVM protocol 'voc07_svn'; did you mean"),
        (["--ckpt", "x"], "not both"),
        (["--layers", "feature3"], "feat3.npy is missing"),
        (["--name", "../x"], "--name '../x' is not usable as a file name"),
        (["--name", ""], "--name '' is not usable as a file name"),
        (["--layers", ""], "--layers '' is empty: name some of feature1,"),
        (["--layers", " , "], "--layers ' , ' is empty"),
    ],
)
def test_wrong_flags_are_one_line(features: Path, more: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        voc_svm.main(flags(features, *more))


@pytest.mark.parametrize("shots", ["0", "1,x", "", ",", " "])
def test_wrong_shots_are_one_line(features: Path, shots: str) -> None:
    with pytest.raises(UserError, match="whole numbers") as caught:
        low_shot_svm.main(flags(features, "--shots", shots))
    assert ("is empty" in str(caught.value)) == (shots.strip(" ,") == "")


@pytest.mark.parametrize("flag", ["--features", "--labels", "--data"])
@pytest.mark.parametrize("command", [voc_svm, low_shot_svm])
def test_an_empty_folder_is_not_the_working_folder(
    features: Path, command: Any, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(flags(features, flag, ""))
    assert caught.value.code == 2
    assert f"argument {flag}: is empty: name a folder" in capsys.readouterr().err


def test_a_folder_whose_name_cannot_be_a_files_asks_for_another(features: Path) -> None:
    folder = features.rename(features.parent / "my feats")
    with pytest.raises(UserError, match=r"folder's name 'my feats' is not usable .* with --name"):
        voc_svm.main(flags(folder))
    voc_svm.main(flags(folder, "--name", "mine", "--dry-run"))


def test_a_checkpoint_takes_no_convention(tmp_path: Path) -> None:
    args = ["--zoo", str(tmp_path), "--ckpt", "random:resnet18", "--data", str(tmp_path)]
    with pytest.raises(UserError, match="--label-values is for --labels"):
        voc_svm.main([*args, "--label-values", "voc"])


def test_a_source_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name what to measure"):
        voc_svm.main(["--zoo", str(tmp_path)])
    with pytest.raises(UserError, match="go together"):
        voc_svm.main(["--zoo", str(tmp_path), "--features", str(tmp_path)])


def test_both_solvers_write_records_of_their_own(features: Path) -> None:
    more = ("--layers", "feature5")
    found = {
        solver: run_json(voc_svm, features, *more, "--solver", solver)
        for solver in ("gram", "liblinear")
    }
    assert {s: r["settings"]["solver"] for s, r in found.items()} == {s: s for s in found}
    assert found["gram"]["layers"]["feature5"]["map"] == pytest.approx(
        found["liblinear"]["layers"]["feature5"]["map"], abs=0.5
    )


def run(module: str, *args: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("module", ["benchmarks.voc_svm", "benchmarks.low_shot_svm"])
def test_help_imports_neither_torch_nor_numpy(module: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['x', '--help']\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'sklearn'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_real_process_writes_json_to_stdout_and_exits_2_on_bad_files(features: Path) -> None:
    done = run("benchmarks.voc_svm", *flags(features, "--json", "-", "--layers", "feature5"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best_layer"] == "feature5"
    path = features / "voc07_test_feat4.npy"
    rows = np.load(path)
    rows[0, 0] = np.nan
    np.save(path, rows)
    done = run("benchmarks.voc_svm", *flags(features, "--layers", "feature4"))
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "feat4.npy holds NaN" in errors[0]


def test_a_killed_run_continues_from_its_layers(features: Path) -> None:
    """Killed once the first layer is on disk; the next run computes the second alone."""
    arguments = [sys.executable, "-m", "benchmarks.voc_svm", *flags(features)]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    parts = features.parent / "zoo/results/mine/voc07_svm/parts"
    end = time.monotonic() + 100
    while not list(parts.glob("feature4-*.json")) and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.wait()
    first = next(parts.glob("feature4-*.json"))
    written = first.stat().st_mtime_ns
    assert cli._exit_code(voc_svm.main, flags(features)) == 0
    assert first.stat().st_mtime_ns == written
    assert len(list(parts.parent.glob("*.json"))) == 1


def test_other_numbers_are_the_variant_custom(features: Path) -> None:
    usual = run_json(voc_svm, features, "--layers", "feature5")
    record = run_json(voc_svm, features, "--layers", "feature5", "--set", "costs=1,10")
    assert (record["variant"], record["settings"]["costs"]) == ("custom", [1.0, 10.0])
    assert set(record["layers"]["feature5"]["cost"]) <= {1.0, 10.0}
    assert usual["variant"] == "mmselfsup"
    assert len(list((features.parent / "zoo/results/mine/voc07_svm").glob("*.json"))) == 2
    few = ("--shots", "1", "--samples", "2", "--layers", "feature5")
    record = run_json(low_shot_svm, features, *few, "--set", "costs=1,10")
    assert record["variant"] == "custom"
    assert list(record["layers"]["feature5"]["shots"]["1"]["by_cost"]) == ["1.0", "10.0"]


def test_what_is_set_is_the_same_result_as_in_a_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_voc(tmp_path / "VOCdevkit" / "VOC2007", {"trainval": 48, "test": 20})
    flags = ["--ckpt", "random:resnet18", "--zoo", str(tmp_path / "zoo"), "--device", "cpu"]
    flags += ["--set", "costs=1,10", "--set", "image.resize=256", "--dry-run", "--json", "-"]
    commands = {"voc07_svm": voc_svm, "voc07_low_shot_svm": low_shot_svm}
    for benchmark, command in commands.items():
        shots = ["--shots", "1"] * (benchmark == "voc07_low_shot_svm")
        plans = []
        command.main([*flags, *shots, "--data", str(tmp_path / "VOCdevkit/VOC2007")])
        plans.append(json.loads(capsys.readouterr().out)["results"])
        suite([*flags, *shots, "--data", str(tmp_path), "--suite", benchmark])
        plans.append(json.loads(capsys.readouterr().out)["results"])
        assert plans[0] == plans[1]


@pytest.mark.parametrize(
    ("command", "words", "says"),
    [
        (voc_svm, "--set cost=1", "unknown field of --set 'cost'; did you mean costs. known: "),
        (low_shot_svm, "--set shot=1", "did you mean shots. known: costs, shots, samples, "),
        (low_shot_svm, "--shots 1 --set shots=2", "--shots 1 and --set shots=2 are both given"),
        (low_shot_svm, "--samples 1 --set samples=2", "--samples 1 and --set samples=2 are both"),
        (voc_svm, "--set image.resize=9", "--set image.resize=9: says how features are made, and"),
        (voc_svm, "--set pooled_size=9", "--set pooled_size=9: says how features are made, and"),
    ],
)
def test_what_cannot_be_set_is_one_line(
    features: Path, command: Any, words: str, says: str
) -> None:
    with pytest.raises(UserError, match=f"^{says}" if says.startswith("--") else says):
        command.main(flags(features, *words.split()))
