"""`--decode fast`: simplejpeg's decoder and torchvision's resize against PIL's, and never mixed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.places205_linear import PLACES205_LINEAR
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.images.decoding import Encoded, open_image
from benchmarks.images.transforms import build_transform
from benchmarks.protocols import ImageTransform
from benchmarks.results import Checkpoint
from benchmarks.trunks import Trunk
from slurm.errors import UserError
from tests.benchmarks.images.pictures import AUGMENTED, photo

UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo(90, 70).save(tmp_path / "colour.jpg", quality=90)
    photo(90, 70).convert("L").save(tmp_path / "grey.jpg", quality=90)
    photo(90, 70).convert("CMYK").save(tmp_path / "print.jpg", quality=90)
    photo(90, 70).save(tmp_path / "lossless.png")
    deep = (np.arange(70 * 90).reshape(70, 90) * 10).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["colour.jpg", "grey.jpg", "print.jpg", "lossless.png", "deep.png"]
)
def test_what_is_decoded_is_what_pil_decodes(folder: Path, name: str) -> None:
    """Both are libjpeg-turbo; what simplejpeg cannot goes to PIL."""
    found = Encoded(folder / name).tensor()
    assert found.dtype == torch.uint8
    expected = torch.from_numpy(np.array(open_image(folder / name))).permute(2, 0, 1)
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


@pytest.mark.parametrize("content", [b"\xff\xd8 no picture", b"", None])
def test_what_cannot_be_decoded_is_named_as_ever(folder: Path, content: bytes | None) -> None:
    whole = (folder / "colour.jpg").read_bytes()
    (folder / "bad.jpg").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(UserError, match=r"bad\.jpg is damaged or not an image"):
        Encoded(folder / "bad.jpg").tensor()
    with pytest.raises(UserError, match="does not exist"):
        Encoded(folder / "none.jpg").tensor()


SPECS = {
    "random": IMAGENET_AVGPOOL.train,
    "centre": IMAGENET_LINEAR.test,
    "squash": VOC07_SVM.image,
    "shift": PLACES205_LINEAR.train,
    "all": AUGMENTED,
}


@pytest.mark.parametrize("kind", SPECS)
def test_pixels_are_near_those_of_pil_and_drawn_alike(folder: Path, kind: str) -> None:
    spec = SPECS[kind]
    plain = ImageTransform(**{**vars(spec), "jitter": None, "greyscale": None})
    ours, pil = build_transform(plain, *UNIT, fast=True), build_transform(plain, *UNIT)
    picture, tensor = open_image(folder / "lossless.png"), Encoded(folder / "lossless.png").tensor()
    with torch.random.fork_rng(devices=[]):
        for seed in range(8):
            torch.manual_seed(seed)
            found = ours(tensor)
            after = torch.get_rng_state()
            torch.manual_seed(seed)
            expected = pil(picture)
            assert torch.equal(torch.get_rng_state(), after)
            assert found.shape == (3, spec.crop, spec.crop)
            away = (found - expected).abs() * 255
            assert away.max() < 2.01
            assert (away > 0.5).float().mean() < 0.1


def test_the_random_crop_is_torchvisions_of_a_tensor(folder: Path) -> None:
    tensor = Encoded(folder / "colour.jpg").tensor()
    ours = build_transform(IMAGENET_AVGPOOL.train, *UNIT, fast=True)
    reference = v2.Compose([v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip()])
    with torch.random.fork_rng(devices=[]):
        for seed in range(5):
            torch.manual_seed(seed)
            found = ours(tensor)
            torch.manual_seed(seed)
            assert torch.equal(found, reference(tensor).float().div(255))


def test_what_pil_refuses_for_its_size_is_refused_as_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No image of gigabytes is made of a header that says so."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match=r"colour\.jpg is too large to be read safely"):
        Encoded(folder / "colour.jpg").tensor()


def test_its_figures_have_keys_of_their_own() -> None:
    checkpoint = Checkpoint("a", "resnet18", "0" * 32)
    plain, fast = (Trunk(Path("zoo"), "a", checkpoint, decode=one) for one in ("pil", "fast"))
    assert len(plain.inputs()) == 6
    assert fast.inputs() == (*plain.inputs(), "decode fast")
