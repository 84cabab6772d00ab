"""One look at a trunk in memory: scikit-learn's figures, and a trunk that is left as it was."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from benchmarks.backbones.backbone import build_backbone
from benchmarks.datasets import imagenet
from benchmarks.datasets.splits import Dataset
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.protocols import ImageTransform
from benchmarks.quick.look import quick_look
from slurm.errors import UserError

SMALL = ImageTransform(crop=32, resize=32)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Trunk(nn.Module):
    """A user's own: batch norm, dropout, a frozen part, a table made when first run."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 24, 5, stride=4)
        self.norm = nn.BatchNorm2d(24)
        self.frozen = nn.BatchNorm2d(24)
        self.drop = nn.Dropout(0.5)
        self.table: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        torch.rand(1)  # as a trunk may, even in evaluation mode
        if self.table is None:
            self.table = torch.ones(24, 1, 1).cumsum(0) / 24
        maps = self.drop(self.frozen(self.norm(self.conv(images)).relu()))
        return maps * self.table


class Given(nn.Module):
    """Gives the same whatever the images are."""

    def __init__(self, maps: object) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: Tensor) -> object:
        return self.maps


@pytest.fixture
def trunk() -> Trunk:
    torch.manual_seed(1)
    found = Trunk()
    found.train()
    found.frozen.eval()
    found(torch.randn(4, 3, 32, 32)).sum().backward()  # gradients and statistics
    found.table = None
    return found


def by_hand(trunk: nn.Module, folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    transform = build_transform(SMALL, MEAN, STD)
    found = {}
    modes = [module.training for module in trunk.modules()]
    trunk.eval()
    for name, split in imagenet.load(folder).splits.items():
        rows = np.arange(len(split.paths))
        batches = load_batches(split, transform, rows, batch_size=100, seed=0, epoch=0)
        with torch.no_grad():
            maps = torch.cat([trunk(pixels) for pixels, _ in batches])
        found[name] = (maps.mean((2, 3)).double().numpy(), split.labels)
    for module, mode in zip(trunk.modules(), modes):
        module.training = mode
    return found


def look(trunk: nn.Module, folder: Path | Dataset, **more: object) -> object:
    return quick_look(trunk, folder, image=SMALL, mean=MEAN, std=STD, **more)  # type: ignore[arg-type]


def test_figures_are_scikit_learns(trunk: Trunk, tiny_imagenet: Path) -> None:
    costs = (0.1, 1.0, 10.0)
    found = quick_look(
        trunk, tiny_imagenet, image=SMALL, mean=MEAN, std=STD, k=(3, 20), costs=costs
    )
    features = by_hand(trunk, tiny_imagenet)
    for k, top1 in found.knn.items():
        judge = KNeighborsClassifier(
            k, metric="cosine", weights=lambda far: np.exp(-far / 0.07), algorithm="brute"
        ).fit(*features["train"])
        assert top1 == pytest.approx(100 * judge.score(*features["val"]))
    assert found.cost in costs
    assert found.cost is not None
    judge = LogisticRegression(C=found.cost, tol=1e-8, max_iter=10_000).fit(*features["train"])
    assert found.logreg == pytest.approx(100 * judge.score(*features["val"]))
    assert (found.train, found.val) == (48, 18)
    assert found.knn[3] > 100 / 3


def test_the_trunk_and_all_generators_stay_as_they_were(trunk: Trunk, tiny_imagenet: Path) -> None:
    modes = {name: module.training for name, module in trunk.named_modules()}
    state = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    gradients = [
        parameter.grad.clone() for parameter in trunk.parameters() if parameter.grad is not None
    ]
    learns = [parameter.requires_grad for parameter in trunk.parameters()]
    random.seed(2)
    np.random.seed(2)
    torch.manual_seed(2)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    look(trunk, tiny_imagenet, costs=(1.0,), seed=5)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert before == after
    assert {name: module.training for name, module in trunk.named_modules()} == modes
    assert (modes[""], modes["norm"], modes["frozen"]) == (True, True, False)
    assert all(torch.equal(tensor, state[name]) for name, tensor in trunk.state_dict().items())
    assert [parameter.requires_grad for parameter in trunk.parameters()] == learns
    for parameter, gradient in zip(trunk.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    # What the trunk made for itself meanwhile can be trained with.
    assert trunk.table is not None
    trunk(torch.randn(2, 3, 32, 32)).sum().backward()


def test_training_with_looks_ends_in_the_bits_of_training_without(tiny_imagenet: Path) -> None:
    def trained(looks: bool) -> dict[str, Tensor]:
        torch.manual_seed(3)
        trunk = Trunk()
        trunk.frozen.eval()
        optimizer = torch.optim.SGD(trunk.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            trunk(torch.randn(8, 3, 32, 32)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if looks:
                look(trunk, tiny_imagenet)
        return trunk.state_dict()

    plain, looked_at = trained(False), trained(True)
    assert all(torch.equal(tensor, looked_at[name]) for name, tensor in plain.items())


def test_modes_come_back_after_a_failure(trunk: Trunk, tiny_imagenet: Path) -> None:
    with torch.no_grad():
        trunk.norm.weight[3] = torch.nan
    with pytest.raises(UserError, match=r"the features are NaN or infinity for .*0\.jpg"):
        look(trunk, tiny_imagenet)
    assert trunk.training
    assert not trunk.frozen.training


def test_a_trunk_of_ours_gives_any_of_its_features(tiny_imagenet: Path, tmp_path: Path) -> None:
    backbone = build_backbone("test_resnet", sobel=False)
    widths = {}
    for feature in ("avgpool", "feature5", "feature2"):
        look(backbone, tiny_imagenet, feature=feature, keep=tmp_path / feature)
        widths[feature] = np.load(tmp_path / feature / "train.npy")
    assert np.array_equal(widths["avgpool"], widths["feature5"])
    taps = {tap.name: tap.channels for tap in backbone.taps}
    assert widths["feature2"].shape == (48, taps["feature2"])
    labels = np.load(tmp_path / "avgpool" / "val_labels.npy")
    assert labels.tolist() == imagenet.load(tiny_imagenet).splits["val"].labels.tolist()


def test_nothing_is_written_unless_asked_for(
    trunk: Trunk, tiny_imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tiny_imagenet.rglob("*"))
    look(trunk, tiny_imagenet, costs=(1.0,))
    assert list(tmp_path.iterdir()) == []
    assert sorted(tiny_imagenet.rglob("*")) == before


def test_fewer_images_are_the_same_in_every_look(
    trunk: Trunk, tiny_imagenet: Path, tmp_path: Path
) -> None:
    kept = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        found = quick_look(
            trunk,
            tiny_imagenet,
            image=SMALL,
            train_images=30,
            val_images=5,
            seed=seed,
            keep=tmp_path / name,
        )
        assert (found.train, found.val) == (30, 5)
        kept[name] = np.load(tmp_path / name / "train.npy")
    assert np.array_equal(kept["first"], kept["again"])
    assert not np.array_equal(kept["first"], kept["other"])


def test_mistakes_are_one_line(trunk: Trunk, tiny_imagenet: Path, tmp_path: Path) -> None:
    def error(of: nn.Module = trunk, folder: Path | Dataset = tiny_imagenet, **more: object) -> str:
        with pytest.raises(UserError) as caught:
            look(of, folder, **more)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "k = (49,) must be whole numbers from 1 to the 48 train images" in error(k=(49,))
    assert "temperature of 0.0 is not above 0" in error(temperature=0.0)
    assert "costs = (1.0, 0.1) must be above 0 and ascending" in error(costs=(1.0, 0.1))
    assert "no tenth can be held out" in error(costs=(1.0,), train_images=9, k=(3,))
    assert "there is no val image" in error(val_images=0)
    no_feature = "the trunk has no feature 'cls'; it gives"
    assert f"{no_feature} one tensor without a name: return a dict" in error(feature="cls")
    for maps, said in (
        ([torch.ones(48, 2, 1, 1)] * 5, "5 maps without names: return a dict"),
        ((torch.ones(48, 2),), "1 map without names: return a dict"),
        ({"layer1": torch.ones(48, 2), "layer2": torch.ones(48, 2)}, "maps named layer1, layer2"),
    ):
        assert error(Given(maps), feature="cls").endswith(f"{no_feature} {said}")
    resnet = build_backbone("test_resnet", sobel=False)
    assert "test_resnet has no class token" in error(resnet, feature="cls")
    tokens = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (-1, 2)))
    assert "of 48 images the trunk gives (48, 1536, 2), which is neither" in error(tokens)
    assert str(tmp_path / "none") in error(folder=tmp_path / "none")
    splits = dict(imagenet.load(tiny_imagenet).splits)
    splits["val"] = replace(splits["val"], classes=splits["val"].classes[::-1])
    assert "other classes, or in another order" in error(folder=Dataset("turned", splits))


def test_the_loop_of_the_page_runs(tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "quick.md").read_text()
    program = page.partition("```python\n")[2].partition("```")[0]
    for said, here in (
        ("range(100)", "range(2)"),
        ("data/photos", str(tiny_imagenet)),
        ("crop=96, resize=112", "crop=32, resize=32"),
    ):
        assert said in program
        program = program.replace(said, here)
    model = nn.Sequential()
    for name, part in (("trunk", Trunk()), ("pool", nn.AdaptiveAvgPool2d(1))):
        model.add_module(name, part)
    model.add_module("head", nn.Sequential(nn.Flatten(), nn.Linear(24, 3)))
    exec(
        program,
        {
            "model": model,
            "loader": [(torch.randn(8, 3, 32, 32), torch.arange(8) % 3)] * 2,
            "criterion": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        },
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]
    assert all(0 <= float(line.split()[1]) <= 100 for line in lines)
