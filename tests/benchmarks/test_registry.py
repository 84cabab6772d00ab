"""The zoo on disk: registering, finding, verifying; and the command in a real process."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor

from benchmarks import results
from benchmarks.__main__ import checkpoint_names
from benchmarks.backbones.backbone import Backbone, build_backbone
from benchmarks.checkpoints.cards import card_path, list_cards, read_card, weights_path
from benchmarks.checkpoints.unregistered import safe_name
from benchmarks.checkpoints.weights import fingerprint, read_weights
from benchmarks.checkpoints.zoo import resolve
from benchmarks.flags.trunk import add_trunk_flags
from benchmarks.registry import load_backbone, main, register
from benchmarks.trunks import find_trunk
from slurm.cli import add_common_flags, run_command
from slurm.errors import UserError
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
SOBEL = {"arch": "resnet18", "sobel": True}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return build_backbone("resnet18", sobel=True, seed=3)


@pytest.fixture(scope="module")
def other() -> Backbone:
    return build_backbone("resnet18", sobel=True, seed=4)


def maps(backbone: Backbone) -> list[Tensor]:
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return list(backbone.eval()(images).values())


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_registered_trunk_gives_the_same_features(tmp_path: Path, backbone: Backbone) -> None:
    card = register(
        tmp_path,
        "deepcluster-r18",
        backbone.state_dict(),
        arch="resnet18",
        sobel=True,
        method="deepcluster",
        config="https://example.org/config.py",
        pretraining={"epochs": 15},
    )
    assert read_card(tmp_path, "deepcluster-r18") == card == resolve(tmp_path, "deepcluster-r18")
    assert list_cards(tmp_path) == [card]
    loaded, found = load_backbone(tmp_path, "deepcluster-r18")
    assert found == card
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert all(torch.equal(a, b) for a, b in zip(maps(loaded), maps(backbone), strict=True))


def test_a_loaded_trunk_stays_frozen_whatever_it_is_put_into(tmp_path: Path) -> None:
    """`train()` of a probe around it would change its batch norms, and so its features."""
    loaded, _ = load_backbone(tmp_path, "random:resnet18")
    images = torch.rand(4, 3, 32, 32)
    before = loaded(images)
    around = torch.nn.ModuleDict({"trunk": loaded, "head": torch.nn.Linear(512, 2)}).train()
    assert around["head"].training
    after = loaded(images)
    assert all(torch.equal(before[tap], after[tap]) for tap in before)
    assert all(not module.training for module in loaded.modules())
    assert loaded.requires_grad_().train().training  # to be trained further


def test_the_files_are_plain(tmp_path: Path, backbone: Backbone) -> None:
    """Weights by torchvision's names, readable by anyone; nothing else is left in the folder."""
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    folder = card_path(tmp_path, "a").parent
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights.safetensors"]
    tensors = safetensors.torch.load_file(weights_path(tmp_path, "a"))
    reference = torchvision.models.resnet18().state_dict()
    assert set(tensors) == {name for name in reference if not name.startswith("fc.")}
    assert json.loads(card_path(tmp_path, "a").read_text())["weights"] == fingerprint(tensors)


def test_registering_the_same_again_writes_nothing(tmp_path: Path, backbone: Backbone) -> None:
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    before = snapshot(tmp_path)
    register(tmp_path, "a", backbone.trunk.state_dict(), **SOBEL)
    assert snapshot(tmp_path) == before


def test_same_weights_with_more_to_say_bring_the_card_up_to_date(
    tmp_path: Path, backbone: Backbone
) -> None:
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    before = weights_path(tmp_path, "a").stat().st_mtime_ns
    register(tmp_path, "a", backbone.state_dict(), **SOBEL, method="deepcluster")
    assert read_card(tmp_path, "a").method == "deepcluster"
    assert weights_path(tmp_path, "a").stat().st_mtime_ns == before


def test_other_weights_need_force(tmp_path: Path, backbone: Backbone, other: Backbone) -> None:
    first = register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    before = snapshot(tmp_path)
    with pytest.raises(
        UserError, match=r"another checkpoint 'a' .* with --force.*remove a --zoo /"
    ):
        register(tmp_path, "a", other.state_dict(), **SOBEL)
    with pytest.raises(UserError, match="has another checkpoint"):  # other pixels, other features
        register(tmp_path, "a", backbone.state_dict(), **SOBEL, std=(0.228, 0.224, 0.225))
    assert snapshot(tmp_path) == before
    second = register(tmp_path, "a", other.state_dict(), **SOBEL, force=True)
    assert second.weights != first.weights
    loaded, _ = load_backbone(tmp_path, "a")
    assert torch.equal(loaded.trunk.conv1.weight, other.trunk.conv1.weight)


def test_a_crash_before_the_card_leaves_nothing_registered(
    tmp_path: Path, backbone: Backbone, other: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    assert not list_cards(tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    with monkeypatch.context() as patch:
        patch.setattr(results, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            register(tmp_path, "a", other.state_dict(), **SOBEL, force=True)
    loaded, _ = load_backbone(tmp_path, "a")  # still the first
    assert torch.equal(loaded.trunk.conv1.weight, backbone.trunk.conv1.weight)
    register(tmp_path, "a", other.state_dict(), **SOBEL, force=True)
    load_backbone(tmp_path, "a")


@pytest.mark.parametrize("damage", ["truncated", "one bit", "missing", "empty"])
def test_damaged_weights_are_noticed_and_mended(
    tmp_path: Path, backbone: Backbone, damage: str
) -> None:
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    path = weights_path(tmp_path, "a")
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "one bit":
        content[-5] ^= 1
        path.write_bytes(content)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"weights\.safetensors (is|does)") as error:
        load_backbone(tmp_path, "a")
    assert "\n" not in str(error.value)
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    load_backbone(tmp_path, "a")


def test_a_damaged_or_renamed_card(tmp_path: Path, backbone: Backbone) -> None:
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    card_path(tmp_path, "a").parent.rename(tmp_path / "checkpoints" / "b")
    with pytest.raises(UserError, match=r"b/card\.json is the card of 'a'"):
        resolve(tmp_path, "b")
    path = card_path(tmp_path, "b")
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 9'))
    with pytest.raises(UserError, match="schema 9, this version reads 1"):
        resolve(tmp_path, "b")
    path.write_text("{")
    with pytest.raises(UserError, match=r"card\.json is not a valid Card"):
        load_backbone(tmp_path, "b")


def test_what_is_no_trunk_is_not_registered(tmp_path: Path, backbone: Backbone) -> None:
    state = backbone.state_dict()
    with pytest.raises(UserError, match="checkpoint 'a' is no resnet34 with Sobel stem: 120 of"):
        register(tmp_path, "a", state, arch="resnet34", sobel=True)
    with pytest.raises(UserError, match=r"conv1\.weight \(64, 2, 7, 7\) instead of \(64, 3"):
        register(tmp_path, "a", state, arch="resnet18", sobel=False)
    with pytest.raises(UserError, match=r"unexpected: 1 \(head\.weight\)"):
        register(tmp_path, "a", state | {"head.weight": torch.ones(2)}, **SOBEL)
    within = state | {"trunk.layer4.gate": torch.ones(2)}  # which is no head, and no advice
    with pytest.raises(UserError, match=r"unexpected: 1 \(layer4\.gate\)$"):
        register(tmp_path, "a", within, **SOBEL)
    with pytest.raises(UserError, match="kept for random trunks"):
        register(tmp_path, "random-resnet18", state, **SOBEL)
    with pytest.raises(UserError, match=r"'\.\./a' is not usable as a file name"):
        register(tmp_path, "../a", state, **SOBEL)
    assert not list(tmp_path.iterdir())


def test_a_head_is_left_out_as_the_error_says(tmp_path: Path) -> None:
    """A zoo may be named by a word."""
    zoo, state_dict = str(tmp_path), torchvision.models.resnet18().state_dict()
    with pytest.raises(UserError, match=r"unexpected: 2 \(fc\.weight, fc\.bias\)") as raised:
        register(zoo, "tv", state_dict, arch="resnet18", sobel=False)
    said = str(raised.value).partition("a head is to be left out: ")[2]
    trunk = eval(said, {"state_dict": state_dict})
    assert len(trunk) == len(state_dict) - 2
    card = register(zoo, "tv", trunk, arch="resnet18", sobel=False)
    assert load_backbone(zoo, "tv")[1] == card == load_backbone(tmp_path, "tv")[1]


def test_a_file_that_needs_a_flag_is_to_be_registered(tmp_path: Path) -> None:
    """Benchmarks have no --arch and no --which."""
    path = tmp_path / "a net.pth"
    add = f"python -m benchmarks.registry add '{path}' --name NAME"
    torch.save({"model": timm.create_model("convnext_atto").state_dict()}, path)
    with pytest.raises(UserError) as raised:
        resolve(tmp_path, str(path))
    said = f"{path}: cannot tell the architecture; register it: {add} --arch ARCH (its tensors: "
    assert str(raised.value).startswith(said)
    nets = {name: timm.create_model("resnet18").state_dict() for name in ("net_a", "net_b")}
    torch.save(nets, path)
    with pytest.raises(UserError) as raised:
        load_backbone(tmp_path, str(path))
    assert str(raised.value).endswith(f"register one: {add} --which net_a")


def test_several_checkpoints_where_one_is_taken(tmp_path: Path) -> None:
    says = r"one is taken here; python -m benchmarks --ckpt a,b --suite quick takes several$"
    with pytest.raises(UserError, match=says):
        resolve(tmp_path, "a,b")
    with pytest.raises(UserError, match="and that is a folder; add one with"):
        resolve(tmp_path, str(tmp_path))


def test_random_trunks_depend_on_the_seed_alone(tmp_path: Path, backbone: Backbone) -> None:
    loaded, card = load_backbone(tmp_path, "random:sobel_resnet18", seed=3)
    assert (card.name, card.arch, card.sobel) == ("random-sobel_resnet18", "resnet18", True)
    assert card == resolve(tmp_path, "random:sobel_resnet18", seed=3)
    assert card.weights != resolve(tmp_path, "random:sobel_resnet18", seed=4).weights
    assert card.weights != resolve(tmp_path, "random:resnet18", seed=3).weights
    assert torch.equal(loaded.trunk.conv1.weight, backbone.trunk.conv1.weight)
    with pytest.raises(UserError, match="unknown architecture 'resnet5O'; did you mean resnet50"):
        resolve(tmp_path, "random:resnet5O")


def test_unknown_checkpoint_says_what_there_is(tmp_path: Path, backbone: Backbone) -> None:
    with pytest.raises(UserError, match=r"no checkpoint 'x\.pth' in .* \(nothing is registered\)"):
        resolve(tmp_path, "x.pth")
    register(tmp_path, "moco", backbone.state_dict(), **SOBEL)
    with pytest.raises(UserError, match=r"\(registered: moco\), and no such file; add one with"):
        load_backbone(tmp_path, "mocO")


def test_a_file_need_not_be_registered(tmp_path: Path, backbone: Backbone, other: Backbone) -> None:
    path = tmp_path / "my run (best).pth.tar"
    torch.save({"state_dict": backbone.trunk.state_dict(), "author": "x"}, path)
    loaded, card = load_backbone(tmp_path / "zoo", str(path))
    assert (card.name, card.sobel, card.format) == ("my_run_best", True, "mmselfsup-backbone")
    assert card.source == str(path)
    assert all(torch.equal(a, b) for a, b in zip(maps(loaded), maps(backbone), strict=True))
    assert not (tmp_path / "zoo").exists()
    # A registered checkpoint of that name with other weights is not mixed up with it.
    register(tmp_path / "zoo", "my_run_best", other.state_dict(), **SOBEL)
    assert resolve(tmp_path / "zoo", str(path)).name == f"my_run_best-{card.weights[:8]}"


def test_the_zoos_own_weights_are_a_checkpoint_file_too(tmp_path: Path, backbone: Backbone) -> None:
    std = (0.228, 0.224, 0.225)
    card = register(tmp_path / "a", "mine", backbone.state_dict(), **SOBEL, std=std)
    found = resolve(tmp_path / "b", str(weights_path(tmp_path / "a", "mine")))
    assert (found.name, found.weights, found.std) == ("mine", card.weights, std)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("swav_800ep_pretrain.pth.tar", "swav_800ep_pretrain"),
        ("epoch=99-step=1.ckpt", "epoch_99-step_1"),
        ("random-resnet18.pth", "file-random-resnet18"),
        ("...", "checkpoint"),
        ("résumé.pt", "r_sum"),
        ("a" * 200 + ".pth", "a" * 128),
    ],
)
def test_names_of_files(file: str, name: str) -> None:
    assert safe_name(Path("/somewhere") / file) == name


def test_fingerprint_sees_names_shapes_types_and_bytes() -> None:
    base = {"a": torch.arange(6.0), "b": torch.tensor(1)}
    variants = [
        base | {"a": torch.arange(6.0).view(2, 3)},
        base | {"a": torch.arange(6.0).int()},
        base | {"b": torch.tensor(2)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
    ]
    prints = {fingerprint(tensors) for tensors in [base, *variants]}
    assert len(prints) == 6
    assert fingerprint(dict(reversed(base.items()))) == fingerprint(base)
    strided = base | {"a": torch.arange(12.0).view(6, 2)[:, 0] / 2}
    assert fingerprint(strided) == fingerprint(base)


def test_registered_tensors_share_no_memory_with_the_model(
    tmp_path: Path, backbone: Backbone
) -> None:
    state = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    state["trunk.layer1.0.conv1.weight"] = state["trunk.layer1.0.conv2.weight"]  # one storage
    register(tmp_path, "tied", state, **SOBEL)
    tensors = read_weights(weights_path(tmp_path, "tied"))
    assert torch.equal(tensors["layer1.0.conv1.weight"], tensors["layer1.0.conv2.weight"])


# --- the command ------------------------------------------------------------------------------


def own_process(*arguments: object, zoo: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"ZOO": str(zoo)}
    return processes.run("-m", "benchmarks.registry", *map(str, arguments), cwd=ROOT, env=env)


class Command:
    """The command in this process, since importing torch anew takes seconds."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object, zoo: Path) -> tuple[int | str | None, str, str]:
        with pytest.raises(SystemExit) as stop:
            run_command(main, [*map(str, arguments), "--zoo", str(zoo)])
        return stop.value.code, *self.capsys.readouterr()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, backbone: Backbone) -> Path:
    """As MMSelfSup 0.x saves a training run of DeepCluster."""
    state = {f"backbone.{name}": tensor for name, tensor in backbone.trunk.state_dict().items()}
    state |= {"head.fc_cls.weight": torch.ones(5, 512), "head.fc_cls.bias": torch.ones(5)}
    path = tmp_path_factory.mktemp("released") / "epoch_200.pth"
    torch.save({"meta": {}, "state_dict": state, "optimizer": {}}, path)
    return path


def test_add_in_a_process_of_its_own(
    tmp_path: Path, released: Path, command: Command, backbone: Backbone
) -> None:
    config = "https://example.org/dc.py"
    options = ("--name", "dc", "--config", config, "--method", "deepcluster", "--json", "-")
    added = own_process("add", released, *options, zoo=tmp_path)
    assert added.returncode == 0, added.stderr
    card = read_card(tmp_path, "dc")
    assert json.loads(added.stdout)["weights"] == card.weights
    assert (card.config, card.method, card.source) == (config, "deepcluster", str(released))
    assert card.weights == fingerprint(backbone.trunk.state_dict())
    _, listing, _ = command("list", zoo=tmp_path)
    lines = listing.splitlines()
    assert lines[0].split() == ["name", "architecture", "method", "format", "weights"]
    assert lines[1].startswith("dc    resnet18, Sobel stem  deepcluster  mmselfsup-0.x")
    assert config in command("show", "dc", zoo=tmp_path)[1]
    code, _, error = command("show", "dcc", zoo=tmp_path)
    assert code == 2
    assert "did you mean dc?" in error


def test_dry_run_counts_and_writes_nothing(
    tmp_path: Path, released: Path, command: Command
) -> None:
    code, output, _ = command("add", released, "--name", "dc", "--dry-run", zoo=tmp_path / "zoo")
    assert code == 0
    lines = dict(line.split("  ", 1) for line in output.splitlines())
    shown = {key.strip(): value.strip() for key, value in lines.items()}
    assert shown["architecture"] == "resnet18, Sobel stem"
    assert shown["matched"] == "120 of 120 tensors"
    assert (shown["missing"], shown["unexpected"], shown["dropped"]) == ("0", "0", "head (2)")
    assert shown["format"] == "mmselfsup-0.x"
    assert not (tmp_path / "zoo").exists()


def test_mistakes_are_one_line_and_code_2(tmp_path: Path, released: Path, command: Command) -> None:
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"\x80\x02garbage")
    blocked = tmp_path / "file"
    blocked.write_text("")
    cases = (
        (tmp_path, ("add", tmp_path / "no.pth", "--name", "x"), "no checkpoint file"),
        (tmp_path, ("add", tmp_path, "--name", "x"), f"{tmp_path} is a folder: name the"),
        (tmp_path, ("add", released, "--name", "x", "--format", "foo"), "'foo'; known: "),
        (tmp_path, ("add", garbage, "--name", "x"), "garbage.pth is not a checkpoint"),
        (tmp_path, ("add", released, "--name", "a/b"), "not usable as a file name"),
        (tmp_path, ("add", released, "--name", "x", "--arch", "resnet19"), "did you mean"),
        (tmp_path, ("add", released, "--name", "x", "--arch", "resnet34"), "120 of 216 keys"),
        (tmp_path, ("add", released, "--name", "x", "--format", "moko"), "did you mean moco"),
        (tmp_path, ("add", released, "--name", "x", "--sobel", "no"), "--sobel no"),
        (tmp_path, ("add", released), "--name"),
        (blocked / "zoo", ("add", released, "--name", "x"), "cannot write in"),
    )
    for zoo, arguments, message in cases:
        code, _, error = command(*arguments, zoo=zoo)
        assert code == 2, (arguments, error)
        assert message in error
        assert error.count("\n") == 1, error
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_an_empty_zoo_is_not_an_error(tmp_path: Path, command: Command) -> None:
    code, output, error = command("list", "--json", "-", zoo=tmp_path)
    assert (code, json.loads(output)) == (0, [])
    assert "nothing is registered" in error


def test_names_and_random_trunks_need_no_torch(tmp_path: Path, backbone: Backbone) -> None:
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom benchmarks.checkpoints.zoo import resolve\n"
        f"zoo = Path({str(tmp_path)!r})\n"
        "print(resolve(zoo, 'a').arch, resolve(zoo, 'random:sobel_resnet50').name)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "resnet18 random-sobel_resnet50\n", done.stderr


def test_subcommands_take_what_newer_versions_of_argparse_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python 3.14 gives every subparser a `color`; an older one can only pass what it knows."""
    option: dict[str, Any] = {"color": False} if sys.version_info >= (3, 14) else {"add_help": True}
    original = argparse._SubParsersAction.add_parser

    def add_parser(action: Any, name: str, **words: Any) -> Any:
        return original(action, name, **option, **words)

    monkeypatch.setattr(argparse._SubParsersAction, "add_parser", add_parser)
    main(["list", "--zoo", str(tmp_path)])
    assert "nothing is registered" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        "benchmarks.registry list",
        "benchmarks.voc_svm --ckpt random:resnet18 --data nowhere",
        "benchmarks.linear_probe --ckpt random:resnet18 --data nowhere --protocol x",
        "pretrain deepcluster --data nowhere --name x",
    ],
)
@pytest.mark.parametrize(
    ("json_path", "says"),
    [("folder", "folder is a folder; name a file in it"), ("file/x.json", "is no folder that you")],
)
def test_a_json_path_that_cannot_be_written_is_refused_before_anything_runs(
    tmp_path: Path, command: str, json_path: str, says: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    words = [sys.executable, "-m", *command.split(), "--zoo", "zoo", "--json", json_path]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not (tmp_path / "zoo").exists()


# --- cards that cannot be used ----------------------------------------------------------------


def edit_card(zoo: Path, name: str, **fields: object) -> None:
    path = card_path(zoo, name)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"std": [0.2, 0.0, 0.2]}, "std 0.0"),
        ({"std": [0.2, -0.2, 0.2]}, "std -0.2"),
        ({"std": [0.2, 1e-30, 0.2]}, "std 1e-30"),
        ({"std": [58.395, 57.12, 57.375]}, "std 58.395"),
        ({"mean": [0.4, 1e300, 0.4]}, "mean 1e+300"),
        ({"mean": [-1.0, 0.4, 0.4]}, "mean -1.0"),
        ({"mean": [123.675, 116.28, 103.53]}, "mean 123.675"),
    ],
)
def test_pixels_that_cannot_be_are_refused(
    tmp_path: Path, backbone: Backbone, fields: dict[str, list[float]], says: str
) -> None:
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    edit_card(tmp_path, "a", **fields)
    for use in (resolve, load_backbone):
        with pytest.raises(UserError, match=rf"card\.json: {re.escape(says)} is none of pixels"):
            use(tmp_path, "a")
    with pytest.raises(UserError, match=re.escape(says)):
        resolve(tmp_path / "b", str(weights_path(tmp_path, "a")))
    with pytest.raises(UserError, match=re.escape(says)):
        register(tmp_path, "b", backbone.state_dict(), **SOBEL, **fields)
    assert not card_path(tmp_path, "b").exists()


def test_a_card_that_does_not_fit_its_weights(tmp_path: Path, backbone: Backbone) -> None:
    register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    for fields, says in (
        ({"arch": "resnet34"}, "is no resnet34 with Sobel stem"),
        ({"arch": "resnet18", "sobel": False}, "is no resnet18: 119 of 120"),
        ({"arch": "resnet18", "sobel": True, "weights": "0" * 32}, "does not hold the weights"),
        ({"arch": "resnet5O"}, "unknown architecture 'resnet5O'"),
    ):
        edit_card(tmp_path, "a", **fields)
        with pytest.raises(UserError, match=says):
            load_backbone(tmp_path, "a")


BAD_CARDS: dict[str, bytes] = {
    "not-json": b"{",
    "not-utf8": b'{"name": "\xff\xfe"}',
    "surrogate": b'{"name": "\\udc80"}',
    "nested": b'{"pretraining": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "\x1b[31mwild": b"{}",
    os.fsdecode(b"\xff\xfe"): b"{}",
}


def test_bad_folders_do_not_hide_the_others(
    tmp_path: Path, backbone: Backbone, command: Command
) -> None:
    register(tmp_path, "good", backbone.state_dict(), **SOBEL, method="\x1b[2Jwiped\u202e")
    for name, content in BAD_CARDS.items():
        card = tmp_path / "checkpoints" / name / "card.json"
        card.parent.mkdir()
        card.write_bytes(content)
    (tmp_path / "checkpoints" / "folder" / "card.json").mkdir(parents=True)
    code, output, error = command("list", "--json", "-", zoo=tmp_path)
    assert (code, [card["name"] for card in json.loads(output)]) == (0, ["good"])
    assert error.count("warning: not listed: ") == len(BAD_CARDS) + 1
    assert all(line.isprintable() for line in error.splitlines())
    assert "\\x1b[2Jwiped\\u202e" in error
    assert checkpoint_names(tmp_path, "*") == ["good"]
    with pytest.raises(UserError, match=r"matches no checkpoint of .* that can be read"):
        checkpoint_names(tmp_path, "not-*")
    for name in BAD_CARDS:
        with pytest.raises(UserError):
            load_backbone(tmp_path, name)


@pytest.mark.parametrize(
    ("ckpt", "complaint"),
    [
        ("random:", "no architecture is named: give one of timm's, such as random:resnet50"),
        ("random:sobel_", "no architecture is named"),
        ("random:resnet5O", "did you mean resnet50"),
        ("random:1234567", "none of the 1,"),
    ],
)
def test_a_random_trunk_needs_an_architecture(tmp_path: Path, ckpt: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as raised:
        resolve(tmp_path, ckpt)
    assert len(str(raised.value)) < 120


def test_notes_of_a_card_reach_the_record_of_a_file(tmp_path: Path) -> None:
    network = timm.create_model("resnet18")
    torch.save(network.state_dict(), tmp_path / "net.pth")
    words = ["--ckpt", str(tmp_path / "net.pth"), "--zoo", str(tmp_path / "zoo")]
    parser = argparse.ArgumentParser()
    add_trunk_flags(parser)
    add_common_flags(parser)
    trunk = find_trunk(parser.parse_args(words))
    card = resolve(tmp_path / "zoo", str(tmp_path / "net.pth"))
    assert trunk.notes == card.notes
    assert any("assumed" in note for note in trunk.notes)
