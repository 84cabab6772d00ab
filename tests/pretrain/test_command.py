"""The command: lists, refuses in one line, resumes only when told to."""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TINY, tiny_item

from benchmarks.checkpoints.cards import IMAGENET_MEAN, card_path, read_card
from benchmarks.datasets.loading import fingerprints
from benchmarks.images.checking import checked_path
from pretrain.__main__ import main
from pretrain.deepcluster import train
from pretrain.deepcluster.command import make_item
from pretrain.deepcluster.identity import differences
from pretrain.deepcluster.model import DeepClusterNet
from pretrain.deepcluster.recipes import DEFAULT, RECIPES
from pretrain.methods import METHODS
from pretrain.plan import plan_of
from slurm.cli import Parser, add_common_flags, run_command


@pytest.fixture(autouse=True)
def tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, epochs=1))


def flags(data: Path, zoo: Path, *more: str) -> list[str]:
    given = ["--recipe", "tiny", "--name", "tiny", "--device", "cpu", "--workers", "0"]
    return ["deepcluster", *given, "--data", str(data), "--zoo", str(zoo), *more]


def refusal(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """The one line of a command that must end with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        run_command(main, words)
    captured = capsys.readouterr()
    assert exit_.value.code == 2, captured.err
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("words", [["--help"], ["list"], ["deepcluster", "--help"]])
def test_what_needs_no_torch_imports_none(words: list[str]) -> None:
    code = (
        "import sys\nfrom pretrain.__main__ import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'faiss', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert DEFAULT in done.stdout.replace("\n", "")


@pytest.mark.parametrize("target", ["-", "card.json"])
def test_a_detached_run_has_no_card_to_print_yet(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slurm.executor.run_sweep", lambda goals, launch: None)  # submitted
    main(flags(data, tmp_path / "zoo", "--cluster", "slurm", "--detach", "--json", target))
    assert capsys.readouterr().out == ""
    assert not Path("card.json").exists()


def test_list_names_methods_and_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    printed = capsys.readouterr().out
    for name in (*METHODS, *RECIPES):
        assert name in printed


def test_recipes_are_the_published_ones() -> None:
    """Figures of OpenSelfSup's r50.py and of FAIR's main.sh."""
    assert DEFAULT == "sobel_resnet50_8xb64-steplr-200e"
    first = RECIPES[DEFAULT]
    assert (first.arch, first.sobel, first.batch_size, first.epochs) == ("resnet50", True, 512, 200)
    assert (first.learning_rate, first.momentum, first.weight_decay) == (0.1, 0.9, 1e-5)
    assert (first.clusters, first.pca, first.kmeans_iterations) == (10_000, 256, 20)
    assert min(first.milestones) > first.epochs  # constant
    assert first.train.jitter == (0.4, 0.4, 1.0, 0.5)
    assert (first.train.rotation, first.train.greyscale) == (2.0, 0.2)
    paper = RECIPES["alexnet_sobel_b256-500e"]
    assert (paper.arch, paper.sobel, paper.batch_size, paper.epochs) == ("alexnet", True, 256, 500)
    assert (paper.learning_rate, paper.neck, paper.clusters, paper.pca) == (
        0.05,
        "fc7",
        10_000,
        256,
    )
    assert paper.train.jitter is None
    for recipe in (first, paper):
        assert recipe.train.random_resized_crop
        assert recipe.train.flip
        assert (recipe.extract.resize, recipe.extract.crop) == (256, 224)
        assert recipe.interval == 1
        assert recipe.mean == IMAGENET_MEAN
    assert all(name == recipe.name for name, recipe in RECIPES.items())


def test_the_other_published_recipes() -> None:
    """OpenSelfSup's r50_withoutsobel.py; facebookresearch/deepcluster with ARCH=vgg16."""
    sobel, plain = RECIPES[DEFAULT], RECIPES["resnet50_8xb64-steplr-200e"]
    assert (plain.sobel, plain.learning_rate) == (False, 0.3)
    assert replace(plain, name=sobel.name, sobel=True, learning_rate=0.1) == sobel
    vgg = RECIPES["vgg16_bn_sobel_b256-200e"]
    assert (vgg.arch, vgg.sobel, vgg.neck) == ("vgg16_bn", True, "fc7")
    assert (vgg.batch_size, vgg.epochs, vgg.learning_rate) == (256, 200, 0.05)
    assert (vgg.clusters, vgg.weight_decay, vgg.train.jitter) == (10_000, 1e-5, None)


def test_every_number_of_a_recipe_has_a_flag(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["show", DEFAULT])
    fields = [line.partition("=")[0].strip() for line in capsys.readouterr().out.splitlines()]
    with pytest.raises(SystemExit):
        main(["deepcluster", "--help"])
    listed = capsys.readouterr().out
    for field in set(fields) - {"name", "config"}:
        assert f"--{field.replace('.', '-').replace('_', '-')} " in listed.replace(",", " "), field
    given = ["--clusters", "5", "--no-sobel", "--train-crop", "24", "--milestones", "2,3"]
    given += ["--weight-decay", "0", "--mean", "0.5,0.5,0.5", "--arch", "resnet10t", "--reweight"]
    given += ["--features", "fp16", "--decode", "fast"]
    item = make_item(parsed(flags(data, tmp_path, *given)))
    assert item.recipe == replace(
        RECIPES["tiny"],
        **{"clusters": 5, "sobel": False, "milestones": (2, 3), "weight_decay": 0.0},
        train=replace(TINY.train, crop=24),
        mean=(0.5, 0.5, 0.5),
        arch="resnet10t",
        reweight=True,
        features="fp16",
        decode="fast",
    )
    again = make_item(parsed(flags(data, tmp_path, "--milestones", "none", "--train-resize=none")))
    assert again.recipe == replace(RECIPES["tiny"], train=replace(TINY.train, resize=None))


def parsed(words: list[str]) -> argparse.Namespace:
    parser = Parser(prog="x", description="x")
    METHODS["deepcluster"].add_flags(parser)
    add_common_flags(parser)
    return parser.parse_args(words[1:])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("--clusters x", "--clusters x: needs a whole number"),
        ("--clusters 0", "--clusters 0: 0 is not a number that this field can have"),
        ("--clusters 1", "1 cluster tells no images apart"),
        ("--clusters 91", "90 images, too few for the 91 clusters"),
        ("--pca 90", "fewer than the 90 directions of PCA; use a lower --pca"),
        ("--learning-rate nan", "--learning-rate nan: needs a number"),
        ("--arch resnet51", "did you mean resnet5"),
        ("--neck fc8", "--neck: invalid choice: 'fc8' (choose from"),
        ("--neck fc7", "neck fc7 belongs to alexnet and vgg16_bn, not to test_resnet"),
        ("--arch alexnet --neck fc7", "neck fc7 is of images of 224 pixels: add --neck avgpool"),
        ("--algorithm dbscan", "--algorithm: invalid choice: 'dbscan' (choose from"),
        ("--set algorithm=dbscan", "--set algorithm=dbscan: needs one of kmeans, pic"),
        ("--features bf16", "--features: invalid choice: 'bf16' (choose from"),
        ("--algorithm pic --balance", "--balance needs centroids"),
        ("--train-crop 50", "--train-crop 50: train.crop 50 is larger than"),
        ("--clusters 5 --set clusters=6", "--clusters 5 and --set clusters=6 are both given"),
        ("--sobel --set sobel=false", "--sobel and --set sobel=false are both given"),
        ("--sobel=maybe", "ignored explicit argument 'maybe'"),
        ("--mean 0.5,0.5", "--mean 0.5,0.5: needs 3 numbers with commas between"),
        ("--kmeans-iterations 99999999999", "--kmeans-iterations 99999999999: it is to be at most"),
        ("--interval 10000000", "--interval 10000000: it is to be at most 1000000"),
        ("--extract-rotation 181", "--extract-rotation 181.0: it is to be 0 to 180 degrees"),
    ],
)
def test_a_number_that_cannot_be_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, reason: str
) -> None:
    assert reason in refusal(capsys, flags(data, tmp_path, *given.split()))
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_a_recipe_without_the_later_fields_is_the_same_run(
    data: Path, tmp_path: Path
) -> None:
    item = tiny_item(tmp_path, data)
    assert (
        not {"algorithm", "balance", "reweight", "features", "decode"}
        & json.loads(item.identity)["recipe"].keys()
    )
    other = tiny_item(tmp_path, data, replace(TINY, reweight=True))
    assert differences(item.identity, other.identity) == "recipe.reweight False, not True"


def test_wrong_words(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean deepcluster" in refusal(capsys, ["deepclustr"])
    line = refusal(capsys, flags(data, tmp_path, "--recipe", "digits_sobel_resnet18-15"))
    assert "did you mean digits_sobel_resnet18-12e" in line
    line = refusal(capsys, flags(data, tmp_path, "--recipe", DEFAULT))
    assert "90 images, too few for the 10000 clusters" in line
    assert "is not usable as a file name" in refusal(
        capsys, [*flags(data, tmp_path), "--name", "a/b"]
    )
    assert "random-" in refusal(capsys, flags(data, tmp_path, "--name", "random-resnet50"))
    assert "is not a whole number from 1" in refusal(capsys, flags(data, tmp_path, "--epochs", "0"))
    assert "half precision on a GPU" in refusal(capsys, flags(data, tmp_path, "--amp"))
    assert not (tmp_path / "checkpoints").exists()


def test_wrong_data(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, flags(tmp_path / "missing", tmp_path))
    assert "missing does not exist" in line
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refusal(capsys, flags(tmp_path / "empty", tmp_path))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, source in enumerate(sorted((data / "train").rglob("*.png"))):
        (folder / f"{number:02d}.png").write_bytes(source.read_bytes())
    truncated = folder / "50.png"
    truncated.write_bytes(truncated.read_bytes()[:300])
    line = refusal_after_progress(capsys, flags(folder, tmp_path / "zoo"))
    assert "50.png" in line
    assert not (tmp_path / "zoo" / "checkpoints").exists()
    assert not list((tmp_path / "zoo").rglob("features*"))


def refusal_after_progress(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        run_command(main, words)
    assert exit_.value.code == 2
    last = capsys.readouterr().err.rstrip("\n").splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_features_that_are_not_finite_end_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = DeepClusterNet.features
    monkeypatch.setattr(
        DeepClusterNet, "features", lambda net, images: features(net, images) * torch.nan
    )
    line = refusal_after_progress(capsys, flags(data, tmp_path))
    assert "the network's features hold NaN or infinity: training has diverged" in line
    assert not list(tmp_path.rglob("features*"))
    assert not (tmp_path / "checkpoints").exists()


def test_a_probe_needs_labels(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, flags(data / "train", tmp_path, "--probe-every", "2"))
    assert "--probe-every asks for labels" in line


def test_state_is_taken_up_only_when_told_to(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main(flags(data, tmp_path, "--keep", "1"))
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1))
    main(flags(data, tmp_path))  # done: says so and touches nothing
    (copy,) = item.state.parent.glob("*.epoch-*")
    copy.unlink()  # from which it would go on
    assert "registered already" in capsys.readouterr().err
    line = refusal(capsys, flags(data, tmp_path, "--epochs", "2"))
    assert "pass --resume to continue it, or --restart" in line
    line = refusal(capsys, flags(data, tmp_path, "--seed", "5", "--resume"))
    assert "(seed 0, not 5)" in line
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, extract=replace(TINY.extract, resize=40)))
    line = refusal(capsys, flags(data, tmp_path, "--resume"))
    assert "(recipe.extract.resize 32, not 40)" in line
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, epochs=1))
    card_path(tmp_path, "tiny").unlink()
    line = refusal(capsys, flags(data, tmp_path))
    assert "deepcluster.pt holds an earlier run" in line
    line = refusal_after_progress(capsys, flags(data, tmp_path, "--seed", "5", "--resume"))
    assert "seed 0, not 5" in line
    good = item.state.read_bytes()
    item.state.write_bytes(good[: len(good) // 2])
    line = refusal_after_progress(capsys, flags(data, tmp_path, "--resume"))
    assert "deepcluster.pt cannot be continued from" in line
    assert "download" not in line
    main(flags(data, tmp_path, "--seed", "5", "--restart"))
    assert tiny_item(tmp_path, data, replace(TINY, epochs=1), seed=5).done()


def test_the_state_of_a_finished_run_goes_and_more_epochs_say_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1))
    with monkeypatch.context() as patch:  # killed after it was registered
        patch.setattr(type(item), "forget_state", lambda item: None)
        main(flags(data, tmp_path))
    assert item.state.exists()
    main(flags(data, tmp_path))
    assert "registered already" in capsys.readouterr().err
    assert list(item.state.parent.iterdir()) == []
    card = card_path(tmp_path, "tiny").read_bytes()
    line = refusal(capsys, flags(data, tmp_path, "--epochs", "2", "--resume"))
    assert line.startswith("error: tiny is registered after 1 epochs, and its state was removed")
    assert "--keep 1" in line
    assert card_path(tmp_path, "tiny").read_bytes() == card
    assert item.done()
    assert (item.log.parent / "clusters/epoch-0001.npy").exists()  # what pictures are drawn from


def test_a_state_that_went_further_is_not_removed_by_a_command_of_fewer_epochs(
    data: Path, tmp_path: Path
) -> None:
    short = tiny_item(tmp_path, data, replace(TINY, epochs=1), keep=1)
    short.run()
    (copy,) = short.state.parent.glob("*.epoch-*")
    copy.unlink()
    content = torch.load(short.state, weights_only=True)
    before = short.state.read_bytes()
    for further in ({"epoch": 2}, {"step": 3}, {"identity": content["identity"] + " "}):
        torch.save(content | further, short.state)
        replace(short, keep=0).forget_state()
        assert short.state.exists()
    short.state.write_bytes(before)
    replace(short, keep=0).forget_state()
    assert not short.state.exists()


def test_dry_run_and_json(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(flags(data, tmp_path, "--dry-run"))
    assert "tiny/deepcluster" in capsys.readouterr().out
    main(flags(data, tmp_path, "--dry-run", "--json", "-"))
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "dry_run": True,
        "results": [
            {"key": "tiny/deepcluster", "path": str(card_path(tmp_path, "tiny")), "done": False}
        ],
        "stages": [{"stage": "pretrain", "items": ["tiny/deepcluster"]}],
    }
    assert "pretrain: 1 to run" in said.err
    assert list(tmp_path.iterdir()) == []
    main(flags(data, tmp_path, "--json", "-"))
    card = card_path(tmp_path, "tiny").read_text()
    assert capsys.readouterr().out == card
    main(flags(data, tmp_path, "--json", str(tmp_path / "copy.json")))
    assert (tmp_path / "copy.json").read_text() == card


def test_only_the_first_of_many_processes_prints_the_card(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main(flags(data, tmp_path))
    capsys.readouterr()
    monkeypatch.setenv("WORLD_SIZE", "2")
    card = card_path(tmp_path, "tiny").read_text()
    for rank, printed in (("0", card), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        main(flags(data, tmp_path, "--json", "-"))
        assert capsys.readouterr().out == printed


def test_a_restart_that_cannot_run_removes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(flags(data, tmp_path, "--keep", "1"))
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1))
    kept = [*(tmp_path / "checkpoints/tiny").iterdir(), item.state, item.log]
    before = [path.read_bytes() for path in kept]
    again = flags(data, tmp_path, "--restart", "--seed", "5")
    assert "half precision" in refusal_after_progress(capsys, [*again, "--amp"])
    missing = [*again, "--cluster", "slurm", "--cluster-config", str(tmp_path / "no.toml")]
    assert "no.toml" in refusal(capsys, missing)
    image = sorted((data / "train").rglob("*.png"))[50]
    content = image.read_bytes()
    # Of the same size, so that planning cannot know.
    image.write_bytes(bytes(len(content)))
    try:
        assert image.name in refusal_after_progress(capsys, again)
    finally:
        image.write_bytes(content)
    assert [path.read_bytes() for path in kept] == before
    assert item.done()


def test_a_restart_replaces_the_checkpoint_once_and_can_be_taken_up(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(flags(data, tmp_path))
    old = read_card(tmp_path, "tiny")
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, epochs=2))
    end = train.Run._end_epoch

    def killed(run: train.Run, steps: int) -> None:
        end(run, steps)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.Run, "_end_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            main(flags(data, tmp_path, "--seed", "5", "--restart"))
    assert read_card(tmp_path, "tiny") == old  # it lives until the new one is there
    line = refusal_after_progress(capsys, flags(data, tmp_path, "--seed", "6", "--resume"))
    assert "seed 5, not 6" in line
    main(flags(data, tmp_path, "--seed", "5", "--resume"))
    assert "tiny: continues at epoch 2/2, at its start" in capsys.readouterr().err
    card = read_card(tmp_path, "tiny")
    assert (card.pretraining["seed"], card.pretraining["epochs"]) == (5, 2)
    main(flags(data, tmp_path, "--seed", "5"))
    assert "registered already" in capsys.readouterr().err
    whole = main(flags(data, tmp_path / "other", "--seed", "5"))
    assert whole is None
    assert read_card(tmp_path / "other", "tiny").weights == card.weights
    main(flags(data, tmp_path, "--seed", "5", "--restart"))  # trains anew although it is done
    assert "tiny: epoch 1/2" in capsys.readouterr().err
    assert read_card(tmp_path, "tiny").weights == card.weights
    assert read_card(tmp_path, "tiny") != card  # another restart


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_a_checkpoint_without_whole_weights_is_not_done(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: int
) -> None:
    main(flags(data, tmp_path))
    weights = tmp_path / "checkpoints/tiny/weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:keep])
    main(flags(data, tmp_path, "--resume"))
    assert weights.read_bytes() == whole
    weights.unlink()
    main(flags(data, tmp_path, "--resume"))
    assert weights.read_bytes() == whole


def partition(line: str) -> list[str]:
    return line.split("=", 1)


def test_every_number_of_a_recipe_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", DEFAULT])
    printed = capsys.readouterr().out
    shown = {name.strip(): value.strip() for name, value in map(partition, printed.splitlines())}
    assert (shown["clusters"], shown["train.jitter"]) == ("10000", "[0.4, 0.4, 1.0, 0.5]")
    assert "did you mean" in refusal(capsys, ["show", DEFAULT[:-1]])
    assert "RECIPE" in refusal(capsys, ["show"])


def test_numbers_of_a_recipe_can_be_changed_and_the_card_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(flags(data, tmp_path, "--set", "clusters=5", "--set", "extract.resize=36"))
    card = read_card(tmp_path, "tiny")
    changes = "extract.resize 36 instead of 32, clusters 5 instead of 8"
    assert card.notes == (f"recipe tiny with {changes}",)
    settings = card.pretraining["settings"]
    assert isinstance(settings, dict)
    assert settings["clusters"] == 5
    line = refusal(capsys, flags(data, tmp_path))
    assert "recipe.clusters 5, not 8" in line
    assert "did you mean clusters" in refusal(capsys, flags(data, tmp_path, "--set", "cluster=5"))


def test_epochs_are_given_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, flags(data, tmp_path, "--epochs", "1", "--set", "epochs=2"))
    assert "--epochs 1 and --set epochs=2 are both given" in line


def test_a_damaged_card_is_one_line_and_a_restart_replaces_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(flags(data, tmp_path))
    card, mark = card_path(tmp_path, "tiny"), tmp_path / "state" / "tiny" / "restart"
    whole = card.read_bytes()
    content = json.loads(whole)
    for identity in ("x", "[1]", "", "null"):
        content["pretraining"]["identity"] = identity
        card.write_text(json.dumps(content))
        line = refusal(capsys, flags(data, tmp_path))
        assert "its identity cannot be read" in line
        assert "--restart" in line
    card.write_bytes(whole)
    for damage in (b"", b"\xff\xfe", b"0123"):
        mark.write_bytes(damage)
        line = refusal(capsys, flags(data, tmp_path))
        assert "restart is damaged" in line
        assert "pass --restart" in line
    for damage in (b"", b"\xff", whole[:100], b'{"name": "\xff"}'):
        mark.unlink(missing_ok=True)
        card.write_bytes(damage)
        assert "pass --restart" in refusal(capsys, flags(data, tmp_path))
    mark.write_bytes(b"\xff")
    main(flags(data, tmp_path, "--restart"))
    assert json.loads(card.read_bytes())["weights"] == json.loads(whole)["weights"]
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": torch.zeros(7, dtype=torch.int32)},
        {"labels": torch.full((90,), 8, dtype=torch.int32)},
        {"labels": torch.full((90,), -1, dtype=torch.int32)},
        {"labels": torch.zeros(90)},
        {"labels": None},
        {"net": {}},
        {"optimizer": {}},
        {"optimizer": {"state": {}, "param_groups": []}},
        {"scaler": {"scale": 1.0}},
        {"epoch": -1},
        {"step": -1},
        {"step": 6},
        {"history": {}},
        {"history": {"loss": [1.0, 2.0]}},
        {"history": {"loss": 1.0}},
        {"loss": torch.zeros(3)},
        {"loss": torch.tensor(float("nan"))},
        {"seconds": float("nan")},
        {"clustered_at": 5},
    ],
    ids=str,
)
def test_a_state_of_wrong_content_is_one_line(
    state_of_one: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
) -> None:
    state = torch.load(state_of_one, weights_only=True)
    path = tmp_path / "state" / "tiny" / "deepcluster.pt"
    path.parent.mkdir(parents=True)
    torch.save(state | change, path)
    line = refusal_after_progress(capsys, flags(data, tmp_path, "--epochs", "2", "--resume"))
    assert "deepcluster.pt is damaged (" in line
    assert "pass --restart" in line


@pytest.fixture(scope="module")
def state_of_one(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a whole run of one epoch."""
    item = tiny_item(tmp_path_factory.mktemp("one"), data, replace(TINY, epochs=1), keep=1)
    item.run()
    return item.state


def damage(path: Path) -> None:
    """A PNG file whose pixels are others than its checksum says; it decodes without a word."""
    content = bytearray(path.read_bytes())
    place = content.index(b"IDAT") - 4
    length = int.from_bytes(content[place : place + 4], "big")
    content[place + 8 + length] ^= 1  # in the checksum
    path.write_bytes(content)


@pytest.mark.parametrize("layout", ["imagenet", "folder"])
def test_images_are_checked_when_asked_and_the_card_says_what_was_found(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    mine = shutil.copytree(data, tmp_path / "data")
    damage(mine / "train/class1/001.png")
    given = flags(mine if layout == "imagenet" else mine / "train", tmp_path / "zoo")
    main([*given, "--check-images", "--dry-run"])
    assert [line for line in capsys.readouterr().out.splitlines() if "to run" in line] == [
        "check: 1 to run",
        "pretrain: 1 to run",
    ]
    main([*given, "--check-images"])
    (note,) = read_card(tmp_path / "zoo", "tiny").notes
    assert note.startswith("pretraining: 1 of 90 images of train may be damaged within")
    assert "001.png: the checksum of a PNG chunk" in note
    (found,) = (tmp_path / "zoo/checks").iterdir()
    if layout == "imagenet":  # the benchmarks find the same check
        planned = fingerprints("imagenet", mine)["train"]
        assert found == checked_path(tmp_path / "zoo", "imagenet", "train", planned)
    found.unlink()
    main([*given, "--check-images"])
    assert found.exists()


def test_an_image_that_cannot_be_decoded_ends_the_run_before_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(data, tmp_path / "data")
    (mine / "train/class1/001.png").write_bytes(b"Not found")
    said = refusal(capsys, flags(mine, tmp_path / "zoo", "--check-images"))
    assert "1 of 90 images of train cannot be used" in said
    assert not list((tmp_path / "zoo").rglob("*.pt"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("clusters=1", "1 cluster tells no images apart: use two or more"),
        ("arch=resnet999", "unknown architecture 'resnet999'; did you mean"),
    ],
)
def test_what_can_never_train_is_refused_when_planning(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, says: str
) -> None:
    assert says in refusal(capsys, flags(data, tmp_path, "--set", change, "--dry-run"))


def test_what_is_about_to_be_done_is_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(flags(data, tmp_path, "--batch-size", "7", "--dry-run"))
    said = capsys.readouterr().err
    assert plan_of("x", 15, 8, 7, 2) == (
        "x: 15 images at 8 pixels, 3 steps an epoch in batches of 7, 2 epochs"
    )
    assert "steps an epoch in batches of 7" in said
    assert "makes more steps" not in said
    main(flags(data, tmp_path, "--batch-size", "5000", "--dry-run"))
    said = capsys.readouterr().err
    assert "1 step an epoch in batches of 5000" in said
    assert "a --batch-size below the number of images makes more steps" in said
