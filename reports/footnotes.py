"""The footnotes of measured tables: protocol, selection, data, seeds and software of each part.

Nothing here changes from run to run of the same figures: times, durations and hosts stay in the
records.
"""

from collections.abc import Iterable, Sequence

from benchmarks.catalog.listed import BENCHMARKS
from benchmarks.catalog.partial import differences
from benchmarks.catalog.records import changes_of
from benchmarks.datasets.catalog import DATASETS
from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.record import LogregRecord, percent_name
from benchmarks.results import HALF, GridPoint, LowShotRecord, ProbeRecord, Record, VocSvmRecord
from reports.clashes.alike import conditions
from reports.collect import Found, by_name, originals, shown_records
from reports.differing import otherwise_notes, rows_by_condition
from reports.layers import fewer_layers, layers_without_svm, low_shot_elsewhere
from reports.measured import Measured
from reports.seeds import seed_matters
from reports.tables import BEST, PART_NAMES, code, escape

BEST_NOTE = (
    f"**{BEST}**: top-1 (%) of the best of the evaluated epochs, chosen on the images that it is "
    "measured on, as the published AvgPool figures are (so OpenSelfSup; MMSelfSup's pages do not "
    "say)."
)


def footnotes(measured: Measured, seeds: bool = False, bold: bool = False) -> tuple[str, ...]:
    """One Markdown line for each part, one for the software, one for each note of a record.

    With `bold` that of the intervals says what bold figures are.
    """
    shown = {part: shown_records(found, seeds) for part, found in measured.found.items()}
    lines = [
        _part(measured, part, shown[part], seeds) for part in measured.kind.parts if part in shown
    ]
    lines += layers_without_svm(shown)
    lines += low_shot_elsewhere(shown, _with_low_shot(measured))
    lines += [_grid(part, items) for part, items in shown.items() if _grids(items)]
    lines += _partial(measured)
    lines += [BEST_NOTE] if BEST in measured.table.columns else []
    intervals = f"{measured.intervals} {measured.bold if bold else ''}".strip()
    lines += [text for text in (intervals, measured.choices) if text]
    lines += otherwise_notes(measured, PART_NAMES)
    everything = [item for found in shown.values() for item in found]
    lines.append(_software(originals(everything)))
    of_records = (
        f"{item.record.checkpoint.name}: {note}"
        for item in everything
        for note in (*item.record.notes, *_half(item.record))
    )
    notes = dict.fromkeys((*measured.remarks, *of_records))
    return (*lines, *(f"Note on {escape(note)}" for note in notes))


def printed_notes(measured: Measured, seeds: bool = False, bold: bool = False) -> tuple[str, ...]:
    """What a reader of the figures alone must know, Markdown: some of the footnotes, in short.

    What is ±, and with `bold` what is bold beside it; and in what rows differ, from each other and
    from other tables of their kind.
    """
    shown = {part: shown_records(found, seeds) for part, found in measured.found.items()}
    cells = [cell for row in measured.table.rows for cell in row.cells.values()]
    # Its first sentence; the others name files of figures without an interval.
    lines = [measured.intervals.partition(". ")[0].rstrip(".") + "."]
    lines = lines if any(cell.low is not None for cell in cells) else []
    lines += [measured.bold] if bold and measured.bold else []
    for part in measured.kind.parts:
        items = shown.get(part, [])
        facts = [
            *[text for item in items[:1] for text in map(escape, changes_of(item.record))],
            *_given_features(items),
            *fewer_layers(items),
            *_unlike_rows(items),
        ]
        groups = _by_seeds(measured, part, items)
        if len(groups) > 1 or any(len(mine) > 1 for mine in groups):
            facts.append(_seeds(measured, part, items, seeds))
        lines += [f"**{PART_NAMES[part]}**: {'; '.join(facts)}."] if facts else []
    lines += [*layers_without_svm(shown), *_partial(measured)]
    if measured.table.number:
        lines.append(f"{escape(measured.kind.title)}, table {measured.table.number}.")
    return (*lines, *otherwise_notes(measured, PART_NAMES))


def _half(record: Record) -> list[str]:
    """What records of the SVMs did not note in earlier builds."""
    return [HALF] if conditions(record)["precision"] == "amp" else []


def _grids(shown: Sequence[Found]) -> list[GridPoint]:
    """The points of all grids, the protocols' own too."""
    records = [item.record for item in shown]
    return [one for record in records if isinstance(record, ProbeRecord) for one in record.grid]


def _grid(part: str, shown: Sequence[Found]) -> str:
    points = _grids(shown)
    rates = ", ".join(f"{one:g}" for one in sorted({point.learning_rate for point in points}))
    decays = ", ".join(f"{one:g}" for one in sorted({point.weight_decay for point in points}))
    return (
        f"**Grid** of {PART_NAMES[part]}: heads at learning rates {rates} and weight decays "
        f"{decays} were trained on the same forward pass; their figures are in the records and in "
        "no column."
    )


def _partial(measured: Measured) -> list[str]:
    if not measured.table.partial:
        return []
    record = next(iter(measured.found.values()))[0].record
    title = DATASETS[BENCHMARKS[record.benchmark].dataset].title
    return [
        f"**Not the real data**: measured on {'; '.join(differences(record))} of {title}. These "
        "figures stand beside no published one."
    ]


def _part(measured: Measured, part: str, shown: Sequence[Found], seeds: bool) -> str:
    record = shown[0].record
    facts = [
        f"protocol {code(record.protocol)}, variant {code(record.variant)}, "
        f"version {record.protocol_version}",
        *map(escape, changes_of(record)),
        *(["images by --decode fast"] if record.settings.get("decode") == "fast" else []),
        *_procedure(shown),
        f"n = {_sizes(record)}",
        *_given_features(shown),
        *fewer_layers(shown),
        *_unlike_rows(shown),
        _seeds(measured, part, shown, seeds) + _more(measured, part, shown),
    ]
    return f"**{PART_NAMES[part]}**: {'; '.join(facts)}."


def _given_features(shown: Sequence[Found]) -> list[str]:
    """Rows whose features came as files, of which nobody here knows how they were made."""
    weights = {item.record.checkpoint.name: item.record.checkpoint.weights for item in shown}
    names = [name for name, one in weights.items() if one.startswith("features:")]
    if not names:
        return []
    return [f"{escape(', '.join(names))}: features from files, by whatever trunk and images"]


def _unlike_rows(shown: Sequence[Found]) -> list[str]:
    """The conditions in which rows of one column differ; official draws are always said."""
    facts = []
    for name in ("precision", "solver", "draws"):
        rows = rows_by_condition(shown, name)
        if len(rows) > 1:
            of = (f"{x or 'not recorded'} ({_names(names)})" for x, names in rows.items())
            facts.append(f"{name} {', '.join(of)}")
        elif any(source.startswith("official") for source in rows):
            facts.append("official draws")
    return facts


def _names(names: Iterable[str]) -> str:
    return escape(", ".join(dict.fromkeys(names)))


def _procedure(shown: Sequence[Found]) -> list[str]:
    record = shown[0].record
    if isinstance(record, ProbeRecord):
        every = record.settings.get("evaluate_every", 1)
        rarely = f", evaluated every {every}" if every != 1 else ""
        epochs = (
            f"{record.epochs} epoch{'s' * (record.epochs != 1)}{rarely}, top-1 (%) of the last one"
        )
        if record.settings.get("queries"):
            epochs = f"efficient probing of the last map; {epochs}"
        if record.benchmark == "imagenet_avgpool":
            epochs += " (the published AvgPool figures are of the best one)"
        return [epochs]
    if isinstance(record, LowShotRecord):
        draws = record.settings.get("samples")
        mean = f"mean mAP (%) over {draws} draws" if draws else "mean mAP (%) over the draws"
        cost = {
            "test": "cost with the best mean on the test set, as in all published figures",
        }.get(record.selection, f"cost selected by {escape(record.selection)}")
        return [mean, cost, "at the **Best Layer**"]
    if isinstance(record, KnnRecord):
        return [
            f"top-1 (%) of the k nearest train images by cosine, votes exp(cosine / "
            f"{record.temperature:g})",
            "nothing is selected",
        ]
    if isinstance(record, LogregRecord):
        return [
            f"top-1 (%) on val; cost among {len(record.path)} by {record.held_out:,} train images "
            "held out, then fitted on all of train",
            *_few_labels(shown),
        ]
    if not isinstance(record, VocSvmRecord):
        return []
    folds = record.settings.get("folds")
    by = f"{folds}-fold cross-validation" if folds else "cross-validation"
    return ["mAP (%)", f"cost of each class by {by}", "layer with the best mAP on the test set"]


def _few_labels(shown: Sequence[Found]) -> list[str]:
    """How rows with few labels were drawn, for each way which."""
    rows: dict[str, list[str]] = {}
    for item in shown:
        record = item.record
        if isinstance(record, LogregRecord) and (record.shots or record.fractions):
            rows.setdefault(_draws(record), []).append(record.checkpoint.name)
    if len(rows) < 2:
        return [f"few labels: mean over {draws}" for draws in rows]
    each = (f"of {_names(names)} mean over {draws}" for draws, names in rows.items())
    return [f"few labels: {', '.join(each)}"]


def _draws(record: LogregRecord) -> str:
    """How many draws its few-label rows are of, and those that a public list gave."""
    rows = {percent_name(float(part)): one for part, one in record.fractions.items()}
    rows |= {f"{k}-shot": one for k, one in record.shots.items()}
    lists = {name: one.source for name, one in rows.items() if one.source != "drawn"}
    listed = [f"{name} of {escape(source)}" for name, source in lists.items()]
    drawn = [len(one.top1) for name, one in rows.items() if name not in lists]
    text = f"{max(drawn)} draws by the seed" if drawn else "no draw"
    text += ", cost by the same held-out images"
    return f"{text} ({', '.join(listed)})" if listed else text


def _sizes(record: Record) -> str:
    sizes = ", ".join(f"{split.images:,} {escape(name)}" for name, split in record.data.items())
    classes = sorted({split.classes for split in record.data.values()})
    return f"{sizes} images of {' or '.join(map(str, classes))} classes"


def _with_low_shot(measured: Measured) -> set[str]:
    """The rows that have a figure of low-shot SVMs."""
    columns = [name for name in measured.table.columns if name.startswith("k=")]
    return {row.name for row in measured.table.rows if row.by_seeds(columns)}


def _by_seeds(
    measured: Measured, part: str, shown: Sequence[Found]
) -> dict[tuple[int, ...], list[str]]:
    """The rows of a part by the seeds that their figures are of, with columns where these differ.

    Of a part without any figure in the table those of its records.
    """
    table = measured.table
    columns = [name for name in table.columns if table.kind.part(name) == part]
    found: dict[tuple[int, ...], list[str]] = {}
    for row in table.rows:
        groups = row.by_seeds(columns)
        for mine, names in groups.items():
            which = row.name if len(groups) == 1 else f"{row.name} {', '.join(names)}"
            found.setdefault(mine, []).append(which)
    if not found:
        for name, items in by_name(shown).items():
            found.setdefault(tuple(item.record.seed for item in items), []).append(name)
    return found


def _seeds(measured: Measured, part: str, shown: Sequence[Found], seeds: bool) -> str:
    groups = _by_seeds(measured, part, shown)
    names = [name for of in groups.values() for name in of]
    between = "; " if any(", " in name for name in names) else ", "  # some name columns
    texts = []
    for mine, of in groups.items():
        text = f"seed{'s' if len(mine) > 1 else ''} {', '.join(map(str, mine))}"
        texts.append(text if len(groups) == 1 else f"{text} ({escape(between.join(of))})")
    text = " and ".join(texts)
    if seeds and any(len(mine) > 1 for mine in groups):
        if not any(seed_matters(item.record) for item in shown):
            return f"{text}, on which it does not depend"
        return f"mean ± sample standard deviation over {text}"
    return text


def _more(measured: Measured, part: str, shown: Sequence[Found]) -> str:
    """How many records of other seeds no figure shows."""
    more = len(measured.found[part]) - len(shown)
    return f" ({more} more in the zoo)" if more else ""


def _software(found: Iterable[Found]) -> str:
    versions: dict[str, set[str]] = {}
    commits: set[str] = set()
    for item in found:
        for package, version in item.record.versions.items():
            versions.setdefault(package, set()).add(version)
        commits.add(item.record.commit or "none")
    own = versions.pop("deepcluster-bench", set())
    packages = {"deepcluster-bench": own} if own else {}
    packages |= dict(sorted(versions.items()))
    shown = ", ".join(f"{name} {' and '.join(sorted(seen))}" for name, seen in packages.items())
    names = ", ".join(code(name) for name in sorted(commits))
    return f"**Software**: {escape(shown)}; commit {names}."
