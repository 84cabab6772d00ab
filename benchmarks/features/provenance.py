"""What the records of all benchmarks on cached features say of where their figures come from."""

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.datasets.loading import load_dataset
from benchmarks.devices import took
from benchmarks.features.cache import SPLITS, AvgpoolCache
from benchmarks.features.choice import CLS, CLS_NOTE
from benchmarks.features.extraction import read_forward
from benchmarks.features.took import read_seconds, read_share
from benchmarks.images.checking import check_notes

if TYPE_CHECKING:
    from benchmarks.protocols import KnnProtocol, LogregProtocol


def record_fields(
    extraction: AvgpoolCache, protocol: "KnnProtocol | LogregProtocol", device: torch.device
) -> dict[str, Any]:
    """The fields of a record that the extraction and the protocol fill, and the machine's."""
    trunk = extraction.trunk
    data = dict(zip(SPLITS, extraction.splits))
    forward = read_forward(extraction.directory)
    notes = [
        *trunk.notes,
        *load_dataset(extraction.dataset, extraction.data).notes,
        *([results.HALF] if forward and forward.precision == "amp" else []),
        *([CLS_NOTE] if extraction.feature == CLS else []),
        *check_notes(trunk.zoo, extraction.dataset, data),
    ]
    return {
        "benchmark": protocol.benchmark,
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "variant": protocol.variant,
        "settings": msgspec.to_builtins(protocol) | ({"decode": "fast"} if trunk.fast else {}),
        "checkpoint": trunk.checkpoint,
        "data": data,
        "seed": trunk.seed,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "notes": tuple(notes),
        "precision": forward.precision if forward else None,
        "made": results.Made(
            ckpt=trunk.ckpt,
            data=str(extraction.data),
            extraction=read_seconds(extraction.directory),
            extraction_share=read_share(extraction.directory),
            **took(device),
        ),
        **results.environment(),
    }


def stored_ranks(ranks: torch.Tensor) -> NDArray[Any]:
    """Ranks (N,) as outcomes hold them: int16, or int32 where one does not fit."""
    values = ranks.cpu().numpy()
    return values.astype(np.int16 if values.max() <= np.iinfo(np.int16).max else np.int32)
