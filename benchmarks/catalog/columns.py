"""The columns that probes share, and where their figures are in a record."""

from benchmarks.results import ProbeRecord

FEATURE_COLUMNS = tuple(f"Feature{stage}" for stage in range(1, 6))


def top1_by_query(record: ProbeRecord) -> dict[str, float]:
    """Top-1 (%) of each attentive head: EP1, EP32, by its number of queries."""
    return {name.upper(): head.top1 for name, head in record.heads.items()}


def top1_by_column(record: ProbeRecord) -> dict[str, float]:
    """Top-1 (%) of each head: Feature1 to Feature5, or AvgPool, or Block1 to the last block."""
    return {
        "AvgPool" if name == "avgpool" else name.capitalize(): head.top1
        for name, head in record.heads.items()
    }
