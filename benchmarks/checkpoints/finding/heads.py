"""Which modules beside a trunk are heads and the like, by their names and the shapes of tensors.

Names are without the parts that tools put in, and begin with the module's.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Size

Modules = Mapping[str, Mapping[str, Size]]  # module -> name of a tensor -> shape

COUNTED = ("total_ops", "total_params")  # that thop leaves in every module
# Heads, memories and the constants of a Sobel stem, which may stand within the trunk's prefix.
_HEADS = re.compile(
    r"(\w+_)?(fc|head|heads|neck|linear|classifier|top_layer|last_layer|logits|projection_head|"
    r"projection|projector|prototypes|predictor|aux|sobel|sobel_layer|loss_weight|queue|queue_ptr|"
    r"fc_norm|mask_token)\d*(\.|$)"
)
# First parts of names that would belong to the way from the image to the last feature map.
_OF_A_TRUNK = re.compile(
    r"(conv|bn|norm|ln|pre|layer|layers|stage|stages|stem|block|blocks|features|patch|embed|pos|"
    r"reg|register|registers|storage|dist|rope|downsample)\d*"
)
# Words, anywhere in a name's first part, for what is put in between the stages.
_IN_BETWEEN = re.compile(
    r"(?:^|_)(?:se|ca|sa|eca|c?bam|attn|attention|gate|gating|adapters?|lora|prompts?|film|excit\w*|"
    r"squeeze\w*|normali[sz]e\w*|pixel)\d*(?:_|$)"
)
# Those of them that are hardly put anywhere else.
_ONLY_IN_BETWEEN = re.compile(
    r"(?:^|_)(?:se|ca|sa|eca|c?bam|lora|film|excit\w*|(?:channel|spatial)_att\w*)\d*(?:_|$)"
)
# What turns or warps an image before it comes to the trunk.
_WARPING = re.compile(r"(?:^|_)(?:stn|spatial_transformer|localization|loc_?net|fc_loc)\d*(?:_|$)")
_WARP = 6  # numbers of an affine one
_OF_IMAGES = re.compile(r"(?:^|_)(?:input|image|img|colou?rs?|pixels?|rgb)(?:_|$)")
# What has maps or tokens, but of the image's reconstruction, of detection or of another network.
_OF_TRAINING = re.compile(
    r"(de|dec|decoder|deconv|generator|disc|discriminator|up|fpn|rpn|roi|bbox|mask|seg|segmentation|"
    r"criterion|loss|losses|metric|metrics|contrast|memory|bank|teacher|student|momentum|ema|average|"
    r"averaged|shadow|target|online|key|query|text|language|transformer|rotation|jigsaw|codebook|"
    r"quantizer|tokenizer|vae|vq)\d*|[89]|\d{2,}"
)
# What judges the outputs of a network holds networks of its own, which nobody evaluates.
_JUDGES = re.compile(
    r"(?:^|\.)(?:\w*loss\w*|\w*criterion\w*|(?:\w+_)?metrics?|fid|lpips|perceptual\w*|"
    r"disc(?:riminators?)?\d*)\."
)
# Last words of names of vectors with a number for each channel of what they work on.
_BY_CHANNEL = re.compile(r"(?:^|[._])(?:mean|std|var|weight|bias|gamma|beta|scale)$")
# Names of vectors that a norm has, and no loss with its weights of classes.
_OF_A_NORM = re.compile(r".+\.(?:bias|beta|running_mean|running_var)$")
_CALLED_NORM = re.compile(r"norm|(?:^|_)(?:bn|gn|in|input)\d*(?:_|$)")
_COLOURS = 3  # channels of an image
# Parts of names that say of what else than colours a norm of three numbers is.
_NO_COLOURS = re.compile(
    r"(?:^|[._])(?:out|outputs?|actions?|obs|states?|labels?|rewards?|pose|ret)(?:[._]|$)"
)


def is_head(name: str) -> bool:
    """Whether a name is that of a head, a memory, a Sobel stem, or of counts of operations."""
    return name.split(".")[-1] in COUNTED or _HEADS.match(name) is not None


def is_of_training(name: str) -> bool:
    """Whether the first word of a name is one of what only training or another task uses."""
    return _OF_TRAINING.fullmatch(_first_word(name)) is not None


def is_of_a_judge(name: str) -> bool:
    """Whether a name is that of a loss, a metric or a discriminator, or of what one holds."""
    return _JUDGES.search(name) is not None


def is_of_an_adapter(name: str) -> bool:
    """Whether a part of a name is that of a small module trained within a frozen network."""
    return re.search(r"(?:^|[._])(?:lora|adapters?|prompts?)(?:[._]|$)", name) is not None


def may_be_within(name: str) -> bool:
    """Whether a name would be one of the trunk itself, or of what is put in between its stages."""
    return bool(_OF_A_TRUNK.fullmatch(_first_word(name)) or is_put_between(name))


def is_put_between(name: str) -> bool:
    """Whether a name is one of what is put in between the stages, and sometimes behind them."""
    return _IN_BETWEEN.search(name.partition(".")[0]) is not None


def on_features(modules: Modules, width: int) -> set[str]:
    """Which modules can work on pooled features, as heads do.

    They have no maps and no tokens. Their matrices take what the trunk gives, of that `width`, or
    another of them does; of vectors alone, those by channel have as many numbers.
    """
    flat = {
        module: widths
        for module, shapes in modules.items()
        if not (widths := _widths(shapes)).larger
    }
    reached, found, before = {width}, set[str](), -1
    while len(found) > before:
        before = len(found)
        for module, widths in flat.items():
            if not widths.takes or _any_multiple(widths.takes, reached):
                found.add(module)
                reached |= _sides(widths.pairs)[1]
    return found


def on_the_way(modules: Modules, inner: Collection[int], width: int) -> set[str]:
    """Which modules beside a wrapped trunk may stand before it or between its stages.

    `inner` are the channels of its maps, `width` those of the last one. Such a module turns colours
    into colours, where no decoder gives any, or is a norm of them, or warps images; or it works on
    an inner stage and is called as only modules between stages are.
    """
    found = set()
    between = {*inner} - {width}
    sides = [_sides(_widths(tensors).maps) for tensors in modules.values()]
    decoded = any(_COLOURS in gives - takes for takes, gives in sides)
    for module, tensors in modules.items():
        widths, called = _widths(tensors), module.rpartition(".")[2]
        takes, gives = _sides(widths.pairs)
        recolours = not decoded and _COLOURS in _sides(widths.maps)[0] and takes == gives
        named = _ONLY_IN_BETWEEN.search(called) and {*widths.takes} & between
        warps = _WARPING.search(called) and (_COLOURS in takes or _WARP in gives)
        inside = (recolours or named or warps) and not _any_multiple(widths.takes, {width})
        if inside or _is_norm_of_colours(called, tensors):
            found.add(module)
    return found


def may_make_images(name: str, tensors: Mapping[str, Size]) -> bool:
    """Whether a module takes three channels and gives three, or a warp of images.

    Or gives three and is named of images. Too little for an error: heads of three classes do, too.
    """
    takes, gives = _sides(_widths(tensors).pairs)
    of_images = _COLOURS in gives and _OF_IMAGES.search(name.partition(".")[0]) is not None
    return of_images or (_COLOURS in takes and not gives.isdisjoint((_COLOURS, _WARP)))


def keeps_a_stage(tensors: Mapping[str, Size], inner: Collection[int], width: int) -> bool:
    """Whether a module gives as many channels as it takes of an inner stage's maps.

    It may stand between two stages, or turn features for a loss, which shapes do not tell.
    """
    widths = _widths(tensors)
    takes, gives = _sides(widths.pairs)
    return bool(_sides(widths.maps)[0] & ({*inner} - {width})) and takes == gives


def last_width(shapes: Mapping[str, Size]) -> int:
    """Channels of the last map of a trunk with tensors of these shapes: of its last vector."""
    return next((shape[0] for shape in reversed(list(shapes.values())) if len(shape) == 1), 1)


@dataclass(frozen=True)
class _Widths:
    """What the tensors of a module give and take, in channels or numbers."""

    pairs: tuple[tuple[int, ...], ...]  # (given, taken) of matrices and maps
    maps: tuple[tuple[int, ...], ...]  # of maps alone, 1x1 convolutions too
    vectors: tuple[int, ...]  # by channel
    larger: bool  # whether some tensors are more than matrices

    @property
    def takes(self) -> tuple[int, ...]:
        """What matrices and maps take; of vectors alone, their numbers."""
        return tuple(taken for _, taken in self.pairs) or self.vectors


def _widths(tensors: Mapping[str, Size]) -> _Widths:
    shapes = {name: _squeezed(shape) for name, shape in tensors.items()}
    vectors = [s[0] for n, s in shapes.items() if len(s) == 1 and _BY_CHANNEL.search(n)]
    return _Widths(
        pairs=_pairs(shape for shape in shapes.values() if len(shape) in (2, 4)),
        maps=_pairs(shape for shape in tensors.values() if len(shape) == 4),
        vectors=tuple(size for size in vectors if size > 1),
        larger=any(len(shape) > 2 for shape in shapes.values()),
    )


def _pairs(shapes: Iterable[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Channels given and taken, but for what gives one or takes each channel by itself."""
    return tuple(tuple(shape[:2]) for shape in shapes if min(shape[:2]) > 1)


def _sides(pairs: Iterable[tuple[int, ...]]) -> tuple[set[int], set[int]]:
    """All that is taken, all that is given."""
    every = list(pairs)
    return {taken for _, taken in every}, {given for given, _ in every}


def _is_norm_of_colours(called: str, tensors: Mapping[str, Size]) -> bool:
    shapes = {name: _squeezed(shape) for name, shape in tensors.items()}
    if any(len(shape) > 1 for shape in shapes.values()):
        return False
    colours = [name for name, shape in shapes.items() if shape == (_COLOURS,) and "." in name]
    if any(_NO_COLOURS.search(name) for name in (called, *colours)):
        return False
    norm = _CALLED_NORM.search(called) is not None
    return any(_OF_A_NORM.match(n) or (norm and _BY_CHANNEL.search(n)) for n in colours)


def _any_multiple(sizes: Collection[int], of: Collection[int]) -> bool:
    return any(size % one == 0 for size in sizes for one in of)


def _squeezed(shape: Size) -> tuple[int, ...]:
    """The shape of a 1x1 convolution as that of its matrix, of one vector as that of a vector."""
    sizes = tuple(shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape)
    return (max(sizes),) if len(sizes) > 1 and math.prod(sizes) == max(sizes) else sizes


def _first_word(name: str) -> str:
    return name.replace("_", ".").partition(".")[0]
