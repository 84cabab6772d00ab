"""The two SVM commands as a user runs them, on real files."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import low_shot_svm, results, voc_svm
from benchmarks.svm.draws import draw, draws_path
from slurm import cli
from slurm.errors import UserError
from tests.benchmarks.svm.svm_data import Recipe, make, write

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
    assert isinstance(results.read_record(stored[0]), results.VocSvmRecord)


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
    original = voc_svm.VocSvmLayer.run

    def spy(item: voc_svm.VocSvmLayer) -> None:
        ran.append(item.layer)
        original(item)

    monkeypatch.setattr(voc_svm.VocSvmLayer, "run", spy)
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


def test_each_k_is_kept_as_soon_as_it_exists(features: Path) -> None:
    with pytest.raises(UserError, match="k=50 needs"):
        low_shot_svm.main(flags(features, "--layers", "feature5", "--shots", "1,50"))
    parts = features.parent / "zoo/results/mine/voc07_low_shot_svm/parts"
    assert [p.name.split("-")[1] for p in parts.iterdir()] == ["k1"]


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
        (["--name", "../x"], "not usable as a file name"),
    ],
)
def test_wrong_flags_are_one_line(features: Path, more: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        voc_svm.main(flags(features, *more))


@pytest.mark.parametrize("shots", ["0", "1,x", ""])
def test_wrong_shots_are_one_line(features: Path, shots: str) -> None:
    with pytest.raises(UserError, match="whole numbers"):
        low_shot_svm.main(flags(features, "--shots", shots))


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
