"""Decoding, transforms against torchvision's own and PIL's, and reproducible loading."""

import io
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as reference

from benchmarks import images, protocols
from benchmarks.datasets.splits import ImageSplit
from benchmarks.protocols import ImageTransform
from slurm.errors import UserError

MEAN, STD = images.IMAGENET_MEAN, images.IMAGENET_STD
AUGMENTED = ImageTransform(
    crop=24,
    random_resized_crop=True,
    flip=True,
    jitter=(0.4, 0.4, 1.0, 0.5),
    lighting=0.1,
    rotation=2.0,
    greyscale=0.2,
)


def _photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Something with edges, gradients and colours."""
    cells = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def _bytes(picture: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


# Decoding


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "1", "RGBA", "LA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    form = "jpeg" if mode in ("RGB", "L", "CMYK") else "png"
    picture = _photo(20, 10).convert(mode)
    picture.save(tmp_path / "x", form)
    decoded = images.open_image(tmp_path / "x")
    assert (decoded.mode, decoded.size) == ("RGB", (20, 10))
    with Image.open(tmp_path / "x") as expected:
        assert np.array_equal(np.asarray(decoded), np.asarray(expected.convert("RGB")))


SIXTEEN = np.linspace(0, 65535, 20 * 10).round().astype(np.uint16).reshape(10, 20)


def _write_png(path: Path) -> None:
    Image.fromarray(SIXTEEN).save(path, format="png")
    assert path.read_bytes()[24] == 16  # its bits per sample


def _write_big_endian_tiff(path: Path) -> None:
    image = Image.frombytes("I;16B", (20, 10), SIXTEEN.astype(">u2").tobytes())
    image.save(path, format="tiff")
    assert path.read_bytes()[:2] == b"MM"


SIXTEEN_BITS: dict[str, Callable[[Path], object]] = {
    "png": _write_png,
    "little-endian tiff": lambda path: Image.fromarray(SIXTEEN).save(path, "tiff"),
    "big-endian tiff": _write_big_endian_tiff,
    "pgm": lambda path: path.write_bytes(b"P5 20 10 65535\n" + SIXTEEN.astype(">u2").tobytes()),
    "32-bit tiff": lambda path: Image.fromarray(SIXTEEN.astype(np.int32)).save(path, "tiff"),
}


@pytest.mark.parametrize("kind", list(SIXTEEN_BITS))
def test_grey_of_sixteen_bits_is_scaled_not_clipped(tmp_path: Path, kind: str) -> None:
    SIXTEEN_BITS[kind](tmp_path / "deep")
    decoded = np.asarray(images.open_image(tmp_path / "deep"))
    assert decoded.shape == (10, 20, 3)
    expected = np.round(SIXTEEN / 65535 * 255)
    assert np.array_equal(decoded, np.repeat(expected[..., None], 3, axis=2))


def test_a_dark_png_of_sixteen_bits_is_dark(tmp_path: Path) -> None:
    Image.fromarray(SIXTEEN // 400).save(tmp_path / "dark.png")  # no value above 163
    assert np.asarray(images.open_image(tmp_path / "dark.png")).max() == 1


def test_integers_of_eight_bits_stay_and_floats_are_refused(tmp_path: Path) -> None:
    small = (SIXTEEN // 257).astype(np.int32)
    Image.fromarray(small).save(tmp_path / "small.tif")
    assert np.array_equal(np.asarray(images.open_image(tmp_path / "small.tif"))[..., 0], small)
    Image.fromarray(SIXTEEN.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match=r"float\.tif has floating-point pixels"):
        images.open_image(tmp_path / "float.tif")


def test_a_png_named_jpeg_decodes(tmp_path: Path) -> None:
    """As n02105855_2933.JPEG of ImageNet is."""
    _photo(20, 10).save(tmp_path / "x.JPEG", "png")
    assert images.open_image(tmp_path / "x.JPEG").size == (20, 10)


PNG, JPEG = _bytes(_photo(64, 48), "png"), _bytes(_photo(64, 48), "jpeg")
DAMAGED = {
    "jpeg cut in the middle": JPEG[: len(JPEG) // 2],
    "jpeg without its last bytes": JPEG[:-40],
    "jpeg header only": JPEG[:30],
    "png cut in the middle": PNG[: len(PNG) // 2],
    "png header only": PNG[:20],
    "png with a damaged chunk": PNG[:200] + bytes(50) + PNG[250:],
    "png with a damaged header": PNG[:20] + bytes(8) + PNG[28:],
    "empty": b"",
    "text": b"Not found\n",
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_image_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "broken.jpg").write_bytes(DAMAGED[kind])
    with pytest.raises(UserError, match=r"broken\.jpg is damaged or not an image") as caught:
        images.open_image(tmp_path / "broken.jpg")
    assert "\n" not in str(caught.value)
    assert "replace the file" in str(caught.value)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _photo(64, 48).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"huge\.png is damaged or not an image"):
        images.open_image(tmp_path / "huge.png")


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jpg does not exist; complete the images"):
        images.open_image(tmp_path / "absent.jpg")
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        images.open_image(tmp_path)


# Transforms

PHOTOS = [_photo(300, 200), _photo(180, 411), _photo(256, 256), _photo(40, 30)]
_TENSOR = [reference.ToTensor(), reference.Normalize(MEAN, STD)]
FIXED = {
    "centre": (
        protocols.IMAGENET_LINEAR.test,
        [reference.Resize(256), reference.CenterCrop(224)],
    ),
    "squash": (
        protocols.VOC07_SVM.image,
        [reference.Resize(256), reference.Resize((224, 224))],
    ),
    "digit": (
        protocols.DIGITS_IMAGENET_LINEAR.test,
        [reference.Resize(40), reference.CenterCrop(32)],
    ),
}


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: str(photo.size))
@pytest.mark.parametrize("kind", FIXED)
def test_fixed_transforms_are_torchvisions_to_the_bit(kind: str, photo: Image.Image) -> None:
    spec, steps = FIXED[kind]
    found = images.build_transform(spec, MEAN, STD)(photo)
    assert found.dtype == torch.float32
    assert type(found) is torch.Tensor
    assert found.shape == (3, spec.crop, spec.crop)
    assert torch.equal(found, reference.Compose([*steps, *_TENSOR])(photo))


def test_squash_is_two_antialiased_bilinear_resizes_of_pil() -> None:
    photo = _photo(300, 200)
    once = photo.resize((384, 256), Image.Resampling.BILINEAR)
    twice = np.asarray(once.resize((224, 224), Image.Resampling.BILINEAR), dtype=np.float64)
    expected = (twice / 255 - np.array(MEAN)) / np.array(STD)
    found = images.build_transform(protocols.VOC07_SVM.image, MEAN, STD)(photo)
    assert np.abs(found.permute(1, 2, 0).numpy() - expected).max() < 1e-5


def _jitter(spec: ImageTransform) -> list[object]:
    return [] if spec.jitter is None else [reference.ColorJitter(*spec.jitter)]


RANDOM = {
    "imagenet": (
        protocols.IMAGENET_LINEAR.train,
        [
            reference.RandomResizedCrop(224),
            reference.RandomHorizontalFlip(),
            reference.ColorJitter(0.4, 0.4, 0.4, 0.0),
            reference.ToTensor(),
            images.Lighting(0.1),
            reference.Normalize(MEAN, STD),
        ],
    ),
    "places": (
        protocols.PLACES205_LINEAR.train,
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
    ours, published = images.build_transform(spec, MEAN, STD), reference.Compose(steps)
    with torch.random.fork_rng(devices=[]):
        for seed in range(12):
            photo = PHOTOS[seed % 3]
            torch.manual_seed(seed)
            found = ours(photo)
            torch.manual_seed(seed)
            assert torch.equal(found, published(photo)), seed


def test_lighting_shifts_by_the_principal_components_in_unit_scale() -> None:
    flat = torch.full((3, 2, 2), 0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        shifts = torch.stack([images.Lighting(0.1)(flat) - flat for _ in range(5000)])
    assert (shifts == shifts[:, :, :1, :1]).all()  # one colour for all pixels
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
    found = images.build_transform(spec, (0, 0, 0), (1, 1, 1))(_photo(20, 10))
    assert found.shape == (3, 32, 32)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_transform_can_be_sent_to_another_process() -> None:
    transform = images.build_transform(AUGMENTED, MEAN, STD)
    again = pickle.loads(pickle.dumps(transform))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = transform(PHOTOS[0])
        torch.manual_seed(0)
        assert torch.equal(found, again(PHOTOS[0]))


# Loading


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> ImageSplit:
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for number in range(23):
        paths.append(f"{number}.{'jpg' if number % 2 else 'png'}")
        _photo(30 + number, 40, seed=number).save(folder / paths[-1])
    return ImageSplit(folder, tuple(paths), np.arange(23), tuple("abc"))


TRANSFORM = images.build_transform(AUGMENTED, MEAN, STD)
ORDER = np.random.default_rng(5).permutation(23)


def _load(
    split: ImageSplit,
    indices: np.ndarray = ORDER,
    *,
    size: int = 4,
    seed: int = 1,
    epoch: int = 2,
    workers: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(
        images.load_batches(
            split, TRANSFORM, indices, batch_size=size, seed=seed, epoch=epoch, workers=workers
        )
    )
    return torch.cat([batch for batch, _ in batches]), torch.cat([rows for _, rows in batches])


def test_batches_come_in_order_with_their_indices(split: ImageSplit) -> None:
    transform = images.build_transform(ImageTransform(crop=24, resize=24), MEAN, STD)
    batches = list(images.load_batches(split, transform, ORDER, batch_size=5, seed=0, epoch=0))
    assert [len(rows) for _, rows in batches] == [5, 5, 5, 5, 3]
    assert torch.cat([rows for _, rows in batches]).tolist() == ORDER.tolist()
    for pictures, rows in batches:
        assert rows.dtype == torch.int64
        assert pictures.dtype == torch.float32
        for picture, row in zip(pictures, rows.tolist()):
            expected = transform(images.open_image(split.root / split.paths[row]))
            assert torch.equal(picture, expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(split: ImageSplit, workers: int) -> None:
    alone, rows = _load(split)
    helped, helped_rows = _load(split, workers=workers)
    assert torch.equal(alone, helped)
    assert torch.equal(rows, helped_rows)


def test_neither_order_nor_batch_size_nor_a_resumption_changes_an_image(split: ImageSplit) -> None:
    pictures, _ = _load(split)
    by_row = dict(zip(ORDER.tolist(), pictures))
    resumed, rows = _load(split, ORDER[8:], size=4)
    assert torch.equal(resumed, pictures[8:])
    for indices, size in ((np.sort(ORDER), 7), (ORDER[::-1][:9], 1), (ORDER[[3, 3, 3]], 2)):
        found, rows = _load(split, indices, size=size)
        assert all(torch.equal(a, by_row[b]) for a, b in zip(found, rows.tolist()))


def test_seed_epoch_and_image_each_change_the_draws(split: ImageSplit) -> None:
    base, _ = _load(split)
    for other in ({"seed": 9}, {"epoch": 3}, {"seed": 2, "epoch": 1}):
        found, _ = _load(split, **other)
        assert not any(torch.equal(a, b) for a, b in zip(found, base))
    same = ImageSplit(split.root, (split.paths[0],) * 23, split.labels, split.classes)
    copies, _ = _load(same)
    assert len({copy.numpy().tobytes() for copy in copies}) == 23


@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_generators_are_left_alone(split: ImageSplit, workers: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(77)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
        batches = images.load_batches(
            split, TRANSFORM, ORDER, batch_size=4, seed=1, epoch=2, workers=workers
        )
        for _ in batches:
            assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert np.array_equal(np.random.get_state()[1], before[2])


def test_the_callers_draws_do_not_change_the_images(split: ImageSplit) -> None:
    base, _ = _load(split)
    with torch.random.fork_rng(devices=[]):
        batches = images.load_batches(split, TRANSFORM, ORDER, batch_size=4, seed=1, epoch=2)
        found = []
        for pictures, _ in batches:
            torch.rand(5)
            found.append(pictures)
    assert torch.equal(torch.cat(found), base)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_stops_the_loading_by_name(
    split: ImageSplit, tmp_path: Path, workers: int
) -> None:
    (tmp_path / "broken.jpg").write_bytes(JPEG[: len(JPEG) // 2])
    paths = [os.path.relpath(split.root / path, tmp_path) for path in split.paths]
    paths[ORDER[9]] = "broken.jpg"
    damaged = ImageSplit(tmp_path, tuple(paths), split.labels, split.classes)
    batches = images.load_batches(
        damaged, TRANSFORM, ORDER, batch_size=4, seed=1, epoch=2, workers=workers
    )
    for _ in range(2):
        next(batches)
    with pytest.raises(UserError, match=r"broken\.jpg is damaged or not an image") as caught:
        next(batches)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_indices_give_no_batches(split: ImageSplit) -> None:
    none = np.array([], dtype=np.int64)
    batches = images.load_batches(split, TRANSFORM, none, batch_size=4, seed=0, epoch=0, workers=2)
    assert list(batches) == []


class _Unsendable:
    def __reduce__(self) -> str:
        raise AssertionError("labels were sent")


def test_labels_never_enter_the_workers(split: ImageSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    class Spy(DataLoader):  # type: ignore[type-arg]
        def __init__(self, dataset: object, **options: object) -> None:
            sent.append(pickle.dumps(dataset))
            super().__init__(dataset, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "DataLoader", Spy)
    secret = ImageSplit(split.root, split.paths, _Unsendable(), split.classes)  # type: ignore[arg-type]
    assert torch.equal(_load(secret, workers=2)[0], _load(split)[0])
    assert len(sent) == 1


def test_an_abandoned_loading_leaves_no_process_behind(split: ImageSplit) -> None:
    program = f"""
import numpy as np
from pathlib import Path
from benchmarks import images, protocols
from benchmarks.datasets.splits import ImageSplit
split = ImageSplit(Path({str(split.root)!r}), {split.paths!r}, np.arange(23), ("a",))
transform = images.build_transform(protocols.DIGITS_IMAGENET_LINEAR.train, (0, 0, 0), (1, 1, 1))
options = dict(batch_size=2, seed=0, epoch=0, workers=2)
batches = images.load_batches(split, transform, np.arange(23), **options)
print(next(batches)[1].tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1]\n", "")
