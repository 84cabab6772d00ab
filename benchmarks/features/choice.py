"""Which features of a trunk are cached; light, so that planning needs no torch."""

from benchmarks.backbones.taps import tap_names
from slurm.errors import UserError

AVGPOOL = "avgpool"  # the mean over the positions of the last map
CLS = "cls"  # the class token of the last block
CLS_NOTE = "class token of the last block, before the network's last norm, which no trunk holds"


def check_feature(feature: str, arch: str | None) -> None:
    """`UserError` unless a trunk of `arch` has the feature."""
    if feature == AVGPOOL or arch is None:
        return
    taps = tap_names(arch)
    if feature == CLS:
        from benchmarks.backbones.class_token import has_class_token  # needs torch

        if not has_class_token(arch):
            raise UserError(f"{arch} has no class token: choose another --feature than {CLS}")
    elif feature not in taps:
        raise UserError(
            f"{arch} has no feature {feature!r}: --feature is one of {AVGPOOL}, {', '.join(taps)}, "
            f"or {CLS} for a vision transformer"
        )
