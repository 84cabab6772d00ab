"""Write the tables of docs/costs.md: what is measured, and by stated arithmetic the rest.

python tests/perf/costs.py            # rewrites what stands between the two markers
python tests/perf/costs.py --check    # exit 1 when the page is stale
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.catalog.listed import PROTOCOLS  # noqa: E402
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT  # noqa: E402
from benchmarks.catalog.voc07_svm import VOC07_SVM  # noqa: E402
from benchmarks.images.copies import OFFICIAL  # noqa: E402
from benchmarks.protocols import ImageTransform, LinearProtocol  # noqa: E402
from pretrain.deepcluster.recipes import RECIPES, Recipe  # noqa: E402
from pretrain.rotation_recipes import RECIPES as ROTATION  # noqa: E402
from pretrain.rotation_recipes import Recipe as RotationRecipe  # noqa: E402
from tests.perf.pages import between, renew  # noqa: E402

RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs/costs.md"
BEGIN, END = "<!-- costs -->\n", "<!-- /costs -->\n"
GPUS = 8  # of the last column, each with as many cores as the measured one
# Channels of ResNet-50's feature1..feature5 and the side of each map at 224 pixels.
STAGES = ((64, 112), (256, 56), (512, 28), (1024, 14), (2048, 7))
FEATURES = {"avgpool": 2048, "fc7": 4096}  # values an image that DeepCluster clusters


def read(name: str) -> dict[str, Any]:
    """A result file as it was left."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def seen() -> dict[str, Any]:
    """Figures of commit 5aee93e, in their place those that were measured since."""
    old, device, clusters = read("h200"), read("gpu-h200"), read("gpu-h100")["clustering_speed"]
    step, loader, stream = device["step_speed"], device["loading_speed"], read("stream")
    return old | {
        "commit": device["machine"]["commit"],
        "old_commit": old["commit"],
        "forward_amp": round(step["bare_forward_images_s"]),
        "step_multi_head_amp": round(step["step_images_s"]),
        "deepcluster_step_amp": round(device["pretraining_speed"]["step_plain_images_s"]),
        "loader_multi_head": round(loader["multi_head_images_s"]),
        "loader_avgpool": round(loader["avgpool_images_s"]),
        "loader_test": round(
            old["loader_multi_head"] * old["core_ms_multi_head"] / old["core_ms_test"]
        ),
        "loader_deepcluster": round(
            loader["multi_head_images_s"] * stream["multi_head_ms"] / stream["deepcluster_ms"]
        ),
        "core_ms_multi_head": stream["multi_head_ms"],
        "core_ms_deepcluster": stream["deepcluster_ms"],
        "cluster_whiten_s": clusters["whiten_s"],
        "cluster_kmeans_s": clusters["normalise_and_kmeans_s"],
    }


SEEN = seen()


def loaded(transform: ImageTransform) -> float:
    """Images a second that 15 workers deliver: measured, or by the time of one core."""
    if transform.rotation is not None:
        return float(SEEN["loader_deepcluster"])
    if transform.random_resized_crop:
        return float(SEEN["loader_multi_head" if transform.jitter else "loader_avgpool"])
    return float(SEEN["loader_test"])


def hours(images: float, *speeds: float) -> float:
    """Of so many images, where the slowest part is what waits."""
    return images / min(speeds) / 3600


def text(number: float) -> str:
    """Hours for people: 0.4, 29, 224."""
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def probes() -> Iterator[str]:
    """A row a linear protocol."""
    yield f"| protocol | epochs | million images | trunk alone | 1 GPU | {GPUS} GPUs | file names |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for protocol in PROTOCOLS.values():
        if isinstance(protocol, LinearProtocol) and protocol.variant != "digits":
            yield probe(protocol)


def probe(protocol: LinearProtocol) -> str:
    train, val = (OFFICIAL[protocol.dataset][split][0] for split in ("train", "val"))
    evaluated = -(-protocol.epochs // protocol.evaluate_every)
    seen, tested = protocol.epochs * train, evaluated * val
    step = SEEN["step_avgpool_amp" if protocol.taps == "avgpool" else "step_multi_head_amp"]
    one = hours(seen, step, loaded(protocol.train)) + hours(tested, step, loaded(protocol.test))
    alone = hours(seen + tested, step)
    memory = (SEEN["loader_workers"] + 1) * SEEN["worker_names_mb"] * train / 1e3
    memory /= OFFICIAL["places205"]["train"][0]
    return (
        f"| `{protocol.name}` | {protocol.epochs} | {(seen + tested) / 1e6:.0f} | {text(alone)} h "
        f"| {text(one)} h | {text(one / GPUS)} h | {memory:.1f} GB |"
    )


def pretraining() -> Iterator[str]:
    """A row a recipe that is not the demo's."""
    yield f"| recipe | epochs | an epoch, 1 GPU | 1 GPU | {GPUS} GPUs | features on disk |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for recipe in RECIPES.values():
        if not recipe.name.startswith("digits"):
            yield deepcluster_row(recipe)
    for turned in ROTATION.values():
        if not turned.name.startswith("digits"):
            yield rotation_row(turned)


def deepcluster_row(recipe: Recipe) -> str:
    """Training and extraction are shared by the GPUs, clustering is not."""
    images, known = OFFICIAL["imagenet"]["train"][0], recipe.arch == "resnet50"
    parts = [loaded(recipe.train), *([SEEN["deepcluster_step_amp"]] if known else [])]
    shared = hours(images, *parts) + hours(images, loaded(recipe.extract), SEEN["forward_amp"])
    names = ("whiten", "kmeans", "nmi")
    alone = sum(SEEN[f"cluster_{name}_s"] for name in names) / 3600
    disk = f"{images * FEATURES[recipe.neck] * 4 / 1e9:.1f} GB"
    return row(recipe.name, recipe.epochs, shared, alone, disk, "" if known else "at least ")


def rotation_row(recipe: RotationRecipe) -> str:
    """Each image is read once and trained on in four turns, at the speed of DeepCluster's step."""
    images = OFFICIAL["imagenet"]["train"][0]
    shared = hours(images, loaded(recipe.train), SEEN["deepcluster_step_amp"] / 4)
    return row(recipe.name, recipe.epochs, shared, 0.0, "none", "")


def row(name: str, epochs: int, shared: float, alone: float, disk: str, least: str) -> str:
    """The hours of an epoch that GPUs share, and those of one process, as a row."""
    times = [shared + alone, *(epochs * (shared / gpus + alone) for gpus in (1, GPUS))]
    cells = [f"{least}{text(time)} h" for time in times]
    return f"| `{name}` | {epochs} | {' | '.join(cells)} | {disk} |"


def svms() -> Iterator[str]:
    """What VOC07 costs."""
    images = sum(count for count, _ in OFFICIAL["voc07"].values())
    seconds = hours(images, SEEN["forward"], loaded(VOC07_SVM.image)) * 3600
    found = [read(f"svm-{spectrum}") for spectrum in ("slow", "fast")]
    low_shot = max(one["low_shot_s"] for one in found)
    peak = max(one[key] for one in found for key in one if key.endswith("_gb"))
    disk = images * dimensions() * 4 / 1e9
    yield "| of one ResNet-50 on VOC07 | time | on | memory | disk |"
    yield "| --- | --- | --- | --- | --- |"
    yield f"| features of all layers | {seconds:.0f} s | 1 GPU, 16 cores | | {disk:.2f} GB |"
    yield (
        f"| full protocol, a layer | {SEEN['svm_cores_full_s']} s (16 cores), "
        f"{max(one['full_s'] for one in found):.1f} s (2 cores) | no GPU | {peak:.1f} GB | |"
    )
    shots = len(VOC07_LOW_SHOT.shots)
    yield (
        f"| low-shot, a layer, {shots} k x {VOC07_LOW_SHOT.samples} draws | "
        f"{SEEN['svm_cores_low_shot_s']} s (16 cores), {low_shot:.1f} s (2 cores) | no GPU "
        f"| {peak:.1f} GB | |"
    )
    both = max(one["five_layers_s"] for one in found)
    yield f"| both, five layers | {both / 60:.1f} min (2 cores) | no GPU | {peak:.1f} GB | |"


def dimensions() -> int:
    """Pooled values an image of all layers."""
    import torch

    from benchmarks.backbones.pooling import pool

    maps = {
        f"feature{number}": torch.zeros(1, channels, side, side)
        for number, (channels, side) in enumerate(STAGES, 1)
    }
    return sum(pooled.shape[1] for pooled in pool(maps, VOC07_SVM.pooled_size).values())


def arithmetic() -> str:
    """How the figures follow from what was measured."""
    return (
        f"Measured at commit {SEEN['commit']} on {SEEN['machine']}, half precision (`--amp`): a "
        f"multi-head step {SEEN['step_multi_head_amp']:,} images/s, a DeepCluster step "
        f"{SEEN['deepcluster_step_amp']:,}, the forward pass alone {SEEN['forward_amp']:,}; "
        f"{SEEN['loader_workers']} workers deliver {SEEN['loader_multi_head']:,} images/s of the "
        f"multi-head transform and {SEEN['loader_avgpool']:,} of random crops and flips. Those of "
        f"DeepCluster ({SEEN['loader_deepcluster']:,}) are scaled by the milliseconds of one core: "
        f"{SEEN['core_ms_multi_head']:.2f} multi-head, {SEEN['core_ms_deepcluster']:.2f} "
        f"DeepCluster. Of commit {SEEN['old_commit']} still are an AvgPool step "
        f"({SEEN['step_avgpool_amp']:,}), the forward pass without `--amp` ({SEEN['forward']:,}) "
        f"and resize and crop ({SEEN['loader_test']:,} from the workers). Hours are images / the "
        'slower of both; "trunk alone" is what is left when no image is waited for. On '
        f"{GPUS} GPUs, each with as many cores, they are divided by {GPUS}: nothing is counted for "
        "processes that wait for one another. Clustering of 2,048 values an image runs on one "
        f"process: on an H100 {SEEN['cluster_whiten_s']:.1f} s of whitening and "
        f"{SEEN['cluster_kmeans_s']:.1f} s of k-means. The last column of the first table is what "
        "all workers of one process came to hold of file names when each had a list of its own, "
        f"{SEEN['worker_names_mb']} MB for Places205: an upper bound, since they share one now. "
        "The memory of a GPU was not measured, nor were the training steps of AlexNet and VGG-16 "
        "and the clustering of their 4,096 values: their hours are those of the images and of the "
        "clustering of half as many values. A ResNet-50 without Sobel filters and one of rotation "
        "prediction, which trains on each image in four turns, are taken to be as fast as "
        "DeepCluster's."
    )


def paragraphs() -> Iterator[str]:
    """What stands between the markers."""
    yield "## Linear probes\n\n" + "\n".join(probes())
    yield "## VOC07 SVMs\n\n" + "\n".join(svms())
    yield "## Pretraining on ImageNet\n\n" + "\n".join(pretraining())
    yield "## By which arithmetic\n\n" + arithmetic()


def fresh(page: str) -> str:
    """`page` with its figures written anew."""
    return between(page, BEGIN, END, paragraphs())


if __name__ == "__main__":
    renew(PAGE, fresh, "tests/perf/costs.py", __doc__)
