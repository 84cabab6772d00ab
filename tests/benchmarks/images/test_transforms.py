"""Transforms against torchvision's own and PIL's."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as reference
from torchvision.transforms import v2

from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR, IMAGENET_LINEAR
from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.catalog.places205_linear import PLACES205_LINEAR
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.checkpoints.cards import IMAGENET_MEAN as MEAN
from benchmarks.checkpoints.cards import IMAGENET_STD as STD
from benchmarks.images.colour import Colour, Draws, Normalise
from benchmarks.images.transforms import RandomResizedCrop, build_transform
from benchmarks.protocols import ImageTransform
from tests.benchmarks.images.pictures import AUGMENTED, Lighting, photo, torchvisions

PHOTOS = [photo(300, 200), photo(180, 411), photo(256, 256), photo(40, 30)]
_TENSOR = [reference.ToTensor(), reference.Normalize(MEAN, STD)]
FIXED = {
    "centre": (
        IMAGENET_LINEAR.test,
        [reference.Resize(256), reference.CenterCrop(224)],
    ),
    "squash": (
        VOC07_SVM.image,
        [reference.Resize(256), reference.Resize((224, 224))],
    ),
    "digit": (
        DIGITS_IMAGENET_LINEAR.test,
        [reference.Resize(40), reference.CenterCrop(32)],
    ),
}


@pytest.mark.parametrize("picture", PHOTOS, ids=lambda picture: str(picture.size))
@pytest.mark.parametrize("kind", FIXED)
def test_fixed_transforms_are_torchvisions_to_the_bit(kind: str, picture: Image.Image) -> None:
    spec, steps = FIXED[kind]
    found = build_transform(spec, MEAN, STD)(picture)
    assert found.dtype == torch.float32
    assert type(found) is torch.Tensor
    assert found.shape == (3, spec.crop, spec.crop)
    assert torch.equal(found, reference.Compose([*steps, *_TENSOR])(picture))


def test_squash_is_two_antialiased_bilinear_resizes_of_pil() -> None:
    picture = photo(300, 200)
    once = picture.resize((384, 256), Image.Resampling.BILINEAR)
    twice = np.asarray(once.resize((224, 224), Image.Resampling.BILINEAR), dtype=np.float64)
    expected = (twice / 255 - np.array(MEAN)) / np.array(STD)
    found = build_transform(VOC07_SVM.image, MEAN, STD)(picture)
    assert np.abs(found.permute(1, 2, 0).numpy() - expected).max() < 1e-5


RANDOM = {
    "imagenet": (
        IMAGENET_LINEAR.train,
        [
            reference.RandomResizedCrop(224),
            reference.RandomHorizontalFlip(),
            reference.ColorJitter(0.4, 0.4, 0.4, 0.0),
            reference.ToTensor(),
            Lighting(0.1),
            reference.Normalize(MEAN, STD),
        ],
    ),
    "places": (
        PLACES205_LINEAR.train,
        [
            reference.Resize(256),
            reference.CenterCrop(256),
            reference.RandomCrop(224),
            reference.RandomHorizontalFlip(),
            *_TENSOR,
        ],
    ),
    "deepcluster": (
        ImageTransform(
            crop=224,
            random_resized_crop=True,
            flip=True,
            rotation=2.0,
            jitter=(0.4, 0.4, 1.0, 0.5),
            greyscale=0.2,
        ),
        [
            reference.RandomResizedCrop(224),
            reference.RandomHorizontalFlip(),
            reference.RandomRotation(2),
            reference.ColorJitter(0.4, 0.4, 1.0, 0.5),
            reference.RandomGrayscale(0.2),
            *_TENSOR,
        ],
    ),
}


@pytest.mark.parametrize("kind", RANDOM)
def test_random_transforms_are_the_published_pipelines(kind: str) -> None:
    """torchvision's first and second API draw alike, so equal seeds must give equal pixels."""
    spec, steps = RANDOM[kind]
    ours, published = build_transform(spec, MEAN, STD), reference.Compose(steps)
    with torch.random.fork_rng(devices=[]):
        for seed in range(12):
            picture = PHOTOS[seed % 3]
            torch.manual_seed(seed)
            found = ours(picture)
            torch.manual_seed(seed)
            assert torch.equal(found, published(picture)), seed


EVERY: dict[ImageTransform, str] = {}
for name, protocol in PROTOCOLS.items():
    for part in ("train", "test", "image"):
        if hasattr(protocol, part):
            EVERY.setdefault(getattr(protocol, part), f"{name}-{part}")


@pytest.mark.parametrize("spec", EVERY, ids=EVERY.get)
def test_every_protocol_is_torchvision_on_pil(spec: ImageTransform) -> None:
    ours, reference = build_transform(spec, MEAN, STD), torchvisions(spec, MEAN, STD)
    with torch.random.fork_rng(devices=[]):
        for seed in range(6):
            picture = PHOTOS[seed % 4]
            torch.manual_seed(seed)
            found = ours(picture)
            after = torch.get_rng_state()
            torch.manual_seed(seed)
            assert torch.equal(found, reference(picture)), seed
            assert torch.equal(torch.get_rng_state(), after)  # and drew as much


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (1, 500), (500, 1), (3, 40), (40, 3), (1, 1), (2000, 9)]
)
def test_a_random_part_is_torchvisions_also_of_long_images(width: int, height: int) -> None:
    """The same draws, and as many of them; the middle where ten parts do not fit."""
    ours, theirs = RandomResizedCrop(8), v2.RandomResizedCrop(8)
    picture = Image.new("RGB", (width, height))
    for seed in range(50):
        torch.manual_seed(seed)
        part = ours.draw(width, height)
        after = torch.get_rng_state()
        torch.manual_seed(seed)
        expected = theirs.make_params([picture])
        assert part == tuple(expected[name] for name in ("left", "top", "width", "height"))
        assert torch.equal(after, torch.get_rng_state())


def test_lighting_shifts_by_the_principal_components_in_unit_scale() -> None:
    flat = torch.full((5000, 2, 2, 3), 51, dtype=torch.uint8)
    light, draws = Colour(lighting=0.1), Draws.none(5000)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for row in range(5000):
            light.draw(draws, row)
    normalise = Normalise((51 / 255,) * 3, (1.0,) * 3)
    shifts = light.apply(flat, draws, [normalise])[0]
    assert torch.equal(shifts, shifts[:, :, :1, :1].expand_as(shifts))  # one colour for all pixels
    colours = shifts[:, :, 0, 0].double().numpy()
    # Published covariance: sum over components of (0.1 eigenvalue)^2 v v'.
    values = np.array([0.2175, 0.0188, 0.0045])
    vectors = np.array(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    expected = vectors @ np.diag((0.1 * values) ** 2) @ vectors.T
    assert np.abs(np.cov(colours.T) - expected).max() < 0.06 * expected.max()
    assert np.abs(colours.mean(0)).max() < 1e-3


def test_small_images_and_grey_probability_one() -> None:
    spec = ImageTransform(crop=32, resize=36, random_crop=36, greyscale=1.0)
    found = build_transform(spec, (0, 0, 0), (1, 1, 1))(photo(20, 10))
    assert found.shape == (3, 32, 32)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_transform_can_be_sent_to_another_process() -> None:
    transform = build_transform(AUGMENTED, MEAN, STD)
    again = pickle.loads(pickle.dumps(transform))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = transform(PHOTOS[0])
        torch.manual_seed(0)
        assert torch.equal(found, again(PHOTOS[0]))
