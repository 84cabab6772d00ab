"""`python -m pretrain.deepcluster.show`: pictures of a run, under way or registered."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import TINY, tiny_item

from benchmarks.backbones.sobel import SobelStem
from pretrain.deepcluster.show import main
from pretrain.deepcluster.watching.drawing import draw_curves
from pretrain.deepcluster.watching.filters import draw_filters, first_filters, on_grey
from slurm.cli import run_command
from slurm.errors import UserError


@pytest.fixture(scope="module")
def zoo(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    tiny_item(folder, data, replace(TINY, epochs=2), probe_every=1, keep=1).run()
    return folder


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


def test_a_run_is_drawn_with_its_clusters(
    data: Path, zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["tiny", "--zoo", str(zoo), "--data", str(data), "--output", str(tmp_path)]
    main([*given, "--clusters", "3", "--images", "4"])
    listed = capsys.readouterr().out.split()
    names = ["curves.png", "clusters.png", "purity.png", "filters.png", "index.html"]
    assert listed == [str(tmp_path / name) for name in names]
    width, height = size_of(tmp_path / "clusters.png")
    assert height == 6 + 3 * 102  # three rows
    assert width == 210 + 4 * 102 + 6
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "3 of 8 clusters" in page
    assert "epoch 2" in page
    assert re.search(r"<td>kmeans_iterations</td><td>20</td>", page)
    sizes = [int(row) for row in re.findall(r"<tr><td>\d+</td><td>(\d+)</td><td>[\d.]+</td>", page)]
    assert sum(sizes) == 90  # every cluster is in the table, the largest first
    assert sizes == sorted(sizes, reverse=True)
    before = [(tmp_path / name).read_bytes() for name in names]
    main([*given, "--clusters", "3", "--images", "4"])
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_a_sheet_is_no_wider_than_the_largest_cluster(
    data: Path, zoo: Path, tmp_path: Path
) -> None:
    given = ["tiny", "--zoo", str(zoo), "--data", str(data), "--output", str(tmp_path)]
    main([*given, "--images", "100000000"])
    page = (tmp_path / "index.html").read_text()
    largest = re.findall(r"<tr><td>\d+</td><td>(\d+)</td><td>[\d.]+</td>", page)[0]
    width, height = size_of(tmp_path / "clusters.png")
    assert (width, height) == (210 + int(largest) * 102 + 6, 6 + 8 * 102)


def test_without_images_there_are_curves_and_filters(zoo: Path, tmp_path: Path) -> None:
    main(["tiny", "--zoo", str(zoo), "--output", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "filters.png", "index.html"}
    state = zoo / "state/tiny/deepcluster.pt"
    hidden = state.rename(state.with_suffix(".hidden"))  # the registered trunk is drawn as well
    try:
        main(["tiny", "--zoo", str(zoo), "--output", str(tmp_path / "card")])
    finally:
        hidden.rename(state)
    drawn = [(folder / "filters.png").read_bytes() for folder in (tmp_path, tmp_path / "card")]
    assert drawn[0] == drawn[1]


def test_images_without_labels_have_no_purity(data: Path, tmp_path: Path) -> None:
    tiny_item(tmp_path, data / "train", replace(TINY, epochs=2)).run()
    given = ["tiny", "--zoo", str(tmp_path), "--data", str(data / "train"), "--clusters", "99"]
    main([*given, "--epoch", "1"])
    folder = tmp_path / "logs/tiny/pictures"
    assert "Clusters of epoch 1" in (folder / "index.html").read_text()
    assert not (folder / "purity.png").exists()
    assert "evenly from the largest to the smallest" in (folder / "index.html").read_text()


def test_what_cannot_be_shown_is_one_line(
    data: Path, zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*words: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            run_command(main, [*words, "--zoo", str(zoo)])
        captured = capsys.readouterr()
        assert exit_.value.code == 2
        assert captured.err.count("\n") == 1
        return captured.err

    assert "has no run other: neither" in refusal("other")
    assert "not usable as a file name" in refusal("a/b")
    assert "other images than tiny was trained on" in refusal("tiny", "--data", str(data / "val"))
    assert "is not a whole number from 1" in refusal("tiny", "--epoch", "0")
    assert "--epoch 99: tiny has 2 epochs so far: name one" in refusal("tiny", "--epoch", "99")
    nowhere = ("tiny", "--output", "/proc/pictures")
    assert refusal(*nowhere).endswith("choose another place with --output\n")


def test_sobel_filters_are_drawn_as_what_they_do_to_the_grey_image() -> None:
    draws = torch.Generator().manual_seed(0)
    filters = torch.randn(4, 2, 5, 5, generator=draws)
    images = torch.randn(1, 3, 20, 20, generator=draws)
    behind = F.conv2d(SobelStem()(images), filters)  # (1, 4, 16, 16)
    alone = F.conv2d(images.mean(1, keepdim=True), on_grey(filters))
    torch.testing.assert_close(alone, behind[..., 1:-1, 1:-1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("count", "channels"), [(64, 3), (200, 2), (3, 3)])
def test_each_filter_has_its_own_scale_and_zero_is_grey(count: int, channels: int) -> None:
    filters = torch.zeros(count, channels, 7, 7)
    filters[:, :, 3, 3] = torch.arange(1, count + 1)[:, None]
    with Image.open(io.BytesIO(draw_filters(filters))) as image:
        pixels = np.array(image)
    assert set(np.unique(pixels)) <= ({128, 255} if channels == 3 else {0, 128, 255})
    assert (pixels == 128).mean() > 0.3


def test_the_first_filters_are_found_whatever_their_name() -> None:
    tensors = {"cls_token": torch.zeros(1, 1, 8), "patch.weight": torch.ones(8, 3, 16, 16)}
    assert first_filters(tensors).shape == (8, 3, 16, 16)
    with pytest.raises(UserError, match="no convolution of images"):
        first_filters({"weight": torch.ones(8, 64, 3, 3)})


def test_curves_of_any_history_are_drawn() -> None:
    short = {"loss": [1.0], "nmi_previous": [None], "empty": [0]}
    gaps = {"loss": [2.0, 1.0], "knn_top1": [None, 50.0], "smallest": [1, 1], "largest": [900, 9]}
    for history in (short, gaps):
        with Image.open(io.BytesIO(draw_curves(history))) as image:
            assert image.size[0] > 500
