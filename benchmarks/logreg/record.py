"""The result record of logistic regression."""

import msgspec

from benchmarks.results import Record


class PathPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cost of the path; percent."""

    cost: float  # C
    held_out_top1: float  # of the fit on the rest of train
    top1: float  # on val, of the fit on all of train
    objective: float  # of the fit on all of train: C times the summed loss, plus |W|^2 / 2
    gap: float  # how far above its minimum that is, relative, estimated


class FewLabels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fits on few labels at the cost with the best mean on the held-out part; percent of val."""

    mean: float
    min: float
    max: float
    std: float  # population standard deviation over the draws
    cost: float
    top1: tuple[float, ...]  # (draws,)
    held_out_by_cost: tuple[float, ...]  # (costs,) mean over the draws
    labels: int  # of the first draw
    source: str  # drawn, or the name of the public list


class LogregRecord(Record, frozen=True, kw_only=True):
    """Result of `imagenet_logreg`."""

    top1: float  # at `cost`, of the fit on all of train
    top5: float
    cost: float  # with the best held-out top-1, the smallest among equals
    path: tuple[PathPoint, ...]
    held_out: int  # training images that chose the cost
    shots: dict[str, FewLabels]  # by labels a class
    fractions: dict[str, FewLabels]  # by the fraction of labels
    dimensions: int  # of the features

    def __post_init__(self) -> None:
        """Raise `ValueError`, which msgspec makes its own, for a fraction that is no number."""
        for part in self.fractions:
            try:
                float(part)
            except ValueError:
                raise ValueError(f"the fraction {part[:20]!r} is no number") from None


def top1_by_column(record: LogregRecord) -> dict[str, float]:
    """Top-1 (%) by column: LogReg, 1-shot, ..., 1%, ..."""
    return {
        "LogReg": record.top1,
        **{f"{k}-shot": one.mean for k, one in record.shots.items()},
        **{percent_name(float(part)): one.mean for part, one in record.fractions.items()},
    }


def percent_name(fraction: float) -> str:
    """The column of a fraction: 0.01 is 1%."""
    return f"{100 * fraction:g}%"
