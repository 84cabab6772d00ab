"""Which layers the best layer of an SVM's row is the best of, and what to say of that."""

from collections.abc import Collection, Mapping, Sequence

from benchmarks.results import LowShotRecord, VocSvmRecord
from reports.clashes.alike import layers_of
from reports.collect import Found, by_name, shown_records
from reports.measured import best_layer, of_type
from reports.tables import escape


def layers_by_row(rows: Mapping[str, Sequence[Found]]) -> dict[str, tuple[str, ...]]:
    """By row of an SVM: the layers that its best one is the best of."""
    layers = {name: [layers_of(item.record) for item in items] for name, items in rows.items()}
    return {
        name: tuple(layer for layer in of[0] if all(layer in one for one in of))
        for name, of in layers.items()
    }


def best_of(
    found: Mapping[str, Sequence[Found]], seeds: bool = False
) -> dict[str, tuple[str, ...]]:
    """By row of a table: the layers that its best layer was chosen among."""
    shown = {part: shown_records(items, seeds) for part, items in found.items()}
    low_shot, svm = (by_name(of_type(shown, kind)) for kind in (LowShotRecord, VocSvmRecord))
    return layers_by_row(low_shot) | layers_by_row(svm)


def fewer_layers(shown: Sequence[Found]) -> list[str]:
    """Rows of an SVM on fewer layers than other rows; on one, which is the best of nothing.

    Of several seeds the layers that each has, where some have more.
    """
    items = by_name(shown)
    measured = {name: _any_layers(found) for name, found in items.items()}
    every = {layer for layers in measured.values() for layer in layers}
    texts = []
    for name, layers in layers_by_row(items).items():
        some = [layer for layer in measured[name] if layer not in layers]
        if some:
            all_seeds = ", ".join(layers) or "no layer"
            texts.append(f"{escape(name)}: {all_seeds} by every seed, {', '.join(some)} by some")
        elif layers and (len(layers) == 1 or len(layers) < len(every)):
            texts.append(f"{escape(name)}: {', '.join(layers)} alone, no other layer was measured")
    return texts


def _any_layers(found: Sequence[Found]) -> list[str]:
    """The layers that any record of a row has, in their order."""
    return sorted({layer for item in found for layer in layers_of(item.record)})


def layers_without_svm(shown: dict[str, list[Found]]) -> list[str]:
    """Rows whose layer low-shot figures chose, for want of an SVM."""
    low_shot, svm = (by_name(of_type(shown, kind)) for kind in (LowShotRecord, VocSvmRecord))
    # Of one layer another note says that there was no choice.
    names = [
        name for name in low_shot if name not in svm and len(layers_by_row(low_shot)[name]) > 1
    ]
    if not names:
        return []
    shown_names = escape(", ".join(names))
    return [
        f"**Best Layer** without an SVM: the best low-shot layer at the highest k ({shown_names})."
    ]


def low_shot_elsewhere(shown: dict[str, list[Found]], with_figures: Collection[str]) -> list[str]:
    """Rows without low-shot figures, which were measured on other layers than the SVM's best.

    `with_figures` are the rows that have one.
    """
    low_shot, svm = (by_name(of_type(shown, kind)) for kind in (LowShotRecord, VocSvmRecord))
    facts = [
        f"{escape(name)} was measured on {', '.join(_any_layers(found))} alone, not on its best "
        f"layer {layer}, and is not shown"
        for name, found in low_shot.items()
        if name not in with_figures and (layer := best_layer(svm.get(name, ()))) is not None
    ]
    return [f"**Low-shot elsewhere**: {'; '.join(facts)}."] if facts else []
