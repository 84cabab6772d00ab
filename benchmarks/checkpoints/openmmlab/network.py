"""What the configuration in an OpenMMLab file says of a network that its tensors cannot.

Two networks can have the same tensors: style='caffe' strides in the 1x1 convolution, dilations
keep the last maps large, pixels come as BGR or undivided. What can be built is built; all else,
and every option that is not known here, is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmarks.backbones.architectures import CAFFE, VARIANTS
from benchmarks.checkpoints.openmmlab.settings import read_settings
from benchmarks.checkpoints.openmmlab.unread import Unread, walk
from benchmarks.checkpoints.wording import shown
from slurm.errors import UserError

Triple = tuple[float, float, float]

_RESNETS = ("ResNet", "ResNeXt", "ResNetSobel", "ResNetV1c", "ResNetV1d")
_TRANSFORMERS = ("VisionTransformer", "MoCoV3ViT", "MAEViT", "MIMVisionTransformer", "CAEViT")
# Options that change nothing in evaluation, or only what names and shapes of tensors say too.
_WORDS = """
type depth init_cfg pretrained with_cp norm_eval zero_init_residual out_indices drop_path_rate
in_channels stem_channels base_channels groups base_width width_per_group expansion
contract_dilation frozen_stages bn_eval bn_frozen norm_freeze stage_with_dcn name _scope_ _delete_
img_size patch_size drop_rate drop_path out_type final_norm mask_ratio stop_grad_conv1
interpolate_mode output_cls_token avg_token arch style norm_cfg model_name features_only
checkpoint_path finetune layer_scale_init_value
"""
_HARMLESS = frozenset(_WORDS.split())
# Options that are known, with the values that torchvision's and timm's networks have.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "num_stages": (4,),
    "strides": ((1, 2, 2, 2),),
    "dilations": ((1, 1, 1, 1),),
    "deep_stem": (False,),
    "avg_down": (False,),
    "conv_cfg": (None, {"type": "Conv"}, {"type": "Conv2d"}),
    "act_cfg": (None, {"type": "ReLU"}, {"type": "ReLU", "inplace": True}),
    "with_cls_token": (True,),
    "qkv_bias": (True,),
    "pre_norm": (False,),
    "layer_cfgs": ({},),
    "patch_cfg": ({},),
}
_NORMS = {"ResNet": ("BN", "BN2d", "SyncBN", "MMSyncBN", "naiveSyncBN"), "Transformer": ("LN",)}
_EPS = {"ResNet": 1e-5, "Transformer": 1e-6}
# Words of networks with the same tensors and other features, in any way of writing a setting.
_IS = r"[\"']?\]?\s*[=:]\s*"
_CAFFE = re.compile(rf"style{_IS}[\"']caffe[\"']")
_OTHER = re.compile(
    rf"(?:deep_stem|avg_down){_IS}[Tt]rue|dilations{_IS}[\[(][^\])]*[2-9][^\])]*[\])]"
)
_NORM_OPTIONS = {"type", "eps", "momentum", "requires_grad"}


@dataclass(frozen=True)
class NetworkConfig:
    """The network that a file's configuration describes."""

    arch: str
    mean: Triple | None = None  # of RGB in 0..1; None where the file does not say
    std: Triple | None = None
    bgr: str | None = None  # the first convolution, if it is to be turned from BGR to RGB
    notes: tuple[str, ...] = ()
    read: bool = False  # whether the file says how the network is built

    def in_rgb(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of the same network for images in RGB."""
        if self.bgr is None:
            return tensors
        return tensors | {self.bgr: tensors[self.bgr].flip(1)}


def network_config(
    path: object, content: Mapping[Any, Any], arch: str, first: str, *, sobel: bool
) -> NetworkConfig:
    """What the file's `meta` says of a network whose tensors are those of `arch`.

    `first` is the trunk's first convolution. Raises `UserError` for a configuration that cannot be
    read without running it and for a network that cannot be built here.
    """
    meta = content.get("meta")
    text = (meta.get("config") or meta.get("cfg")) if isinstance(meta, Mapping) else None
    if not text:
        return NetworkConfig(arch)
    try:
        settings = text if isinstance(text, Mapping) else read_settings(_text(text))
        built, notes, read = _network(settings, arch)
        _check_words(text if isinstance(text, str) else repr(settings), built, read)
        mean, std, bgr = _pixels(settings)
    except ValueError as error:
        raise UserError(
            f"{path} carries the configuration of its network, and {error}; if its features are "
            "those of torchvision's network all the same, save its state dict alone: torch.save("
            "torch.load(PATH)['state_dict'], 'weights.pth')"
        ) from error
    turned = first if bgr and not sobel else None
    if turned:
        notes = (*notes, "trained on BGR pixels: its first convolution was turned to RGB")
    return NetworkConfig(built, mean, std, turned, notes, read)


def _check_words(text: str, built: str, read: bool) -> None:
    """Raise `ValueError` when words of another network stand where they could not be read.

    A backbone can be configured elsewhere than in `model.backbone` (a detector within a teacher),
    and changed by other means than plain assignments.
    """
    if built in CAFFE.values() and _CAFFE.search(text):  # basic blocks have no style
        raise ValueError("it says style='caffe', which is not what was read of its backbone")
    other = None if read else _OTHER.search(text)
    if other:
        raise ValueError(f"it says {shown(other[0])}, and not which backbone that is of")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"it is a {type(value).__name__}, not text")
    return value


def _network(settings: Mapping[str, Any], arch: str) -> tuple[str, tuple[str, ...], bool]:
    """The architecture, notes, and whether there is a word of it."""
    model = settings.get("model")
    if isinstance(model, Unread):
        raise ValueError("its model cannot be told without running it")
    backbone = model.get("backbone") if isinstance(model, Mapping) else None
    if backbone is None:
        return arch, (), False
    if not isinstance(backbone, Mapping):
        raise ValueError("its backbone cannot be told without running it")
    family = _family(backbone)
    for option, value in backbone.items():
        _check_option(str(option), value)
    _check_norm(backbone.get("norm_cfg"), family)
    _check_named(backbone, family, arch)
    notes: tuple[str, ...] = ()
    frozen = backbone.get("frozen_stages", -1)
    if isinstance(frozen, int) and frozen >= 0:
        notes = (f"stages up to {frozen} were frozen while this file was trained",)
    if family == "ResNet":
        return _styled(backbone, arch), notes, True
    return _with_heads(backbone, arch), notes, True


def _family(backbone: Mapping[Any, Any]) -> str:
    kind = str(backbone.get("type")).rpartition(".")[2]
    if kind in _RESNETS or kind == "TIMMBackbone":
        return "ResNet"
    if kind in _TRANSFORMERS:
        return "Transformer"
    raise ValueError(f"its backbone is a {shown(kind)}, whose options are not known here")


def _check_named(backbone: Mapping[Any, Any], family: str, arch: str) -> None:
    """Networks can share all tensors: what the configuration names must be what was found."""
    named, depth = backbone.get("model_name"), backbone.get("depth")
    if isinstance(named, str) and named != arch:
        raise ValueError(f"its backbone is timm's {shown(named)}, found {arch}: give --arch")
    if isinstance(depth, int) and family == "ResNet" and str(depth) not in arch:
        raise ValueError(f"its backbone has depth {depth}, but its tensors are {arch}'s")
    if (family == "Transformer") == arch.startswith("res"):
        raise ValueError(f"its backbone is a {family}, but its tensors are {arch}'s")


def _check_option(option: str, value: Any) -> None:
    if isinstance(value, Unread):
        raise ValueError(f"its backbone's {option} cannot be told without running it")
    if option in _HARMLESS or (option not in _PLAIN and value in (None, False)):
        return
    given = tuple(value) if isinstance(value, list) else value
    if option not in _PLAIN:
        raise ValueError(f"its backbone has {option}={value!r}, which is not known here"[:200])
    if given not in _PLAIN[option]:
        raise ValueError(
            f"its backbone has {option}={value!r}, which is not built here (only "
            f"{_PLAIN[option][0]!r} is)"[:300]
        )


def _check_norm(norm: Any, family: str) -> None:
    if norm is None:
        return
    if not isinstance(norm, Mapping) or any(isinstance(item, Unread) for item in walk(norm)):
        raise ValueError("its backbone's norm_cfg cannot be told without running it")
    kind, eps = str(norm.get("type")).rpartition(".")[2], norm.get("eps", _EPS[family])
    if kind not in _NORMS[family] or eps != _EPS[family] or set(norm) - _NORM_OPTIONS:
        raise ValueError(f"its backbone has norm_cfg={dict(norm)!r}, which is not built here"[:200])


def _styled(backbone: Mapping[Any, Any], arch: str) -> str:
    """The architecture with the strides where `style` puts them."""
    style = backbone.get("style", "pytorch")
    if style == "pytorch" or arch in ("resnet18", "resnet34"):  # whose blocks have no style
        return arch
    if style == "caffe" and arch in CAFFE.values():
        return next(name for name, base in CAFFE.items() if base == arch)
    raise ValueError(f"its backbone has style={style!r}, which is not built here for {arch}"[:200])


def _with_heads(backbone: Mapping[Any, Any], arch: str) -> str:
    """The architecture with the attention heads of `arch=`, which no tensor shows."""
    name = backbone.get("arch")
    if isinstance(name, Mapping):
        width, heads = name.get("embed_dims"), name.get("num_heads")
        plain = isinstance(width, int) and heads == width // 64
        more = heads == 12 and width == 384
    else:
        plain, more = name != "mocov3-small", name == "mocov3-small"
    if plain:
        return VARIANTS.get(arch, (arch, {}))[0]
    variant = f"{VARIANTS.get(arch, (arch, {}))[0]}_12heads"
    if more and variant in VARIANTS:
        return variant
    raise ValueError(f"its backbone has arch={name!r}, which is not built here"[:200])


def _pixels(settings: Any) -> tuple[Triple | None, Triple | None, bool]:
    """Mean and std of RGB in 0..1 where the file says them, and whether the network takes BGR."""
    model = settings.get("model")
    places = (settings, model) if isinstance(model, Mapping) else (settings,)
    preprocessors = [id(place.get("data_preprocessor")) for place in places]
    found = {
        _normalisation(item, preprocessor=id(item) in preprocessors): None
        for item in walk(settings)
        if isinstance(item, Mapping) and item.get("mean") is not None and "std" in item
    }
    unread = [item for item in walk(settings) if isinstance(item, Unread) and _hides(item.was)]
    if unread:
        raise ValueError(
            f"how it normalises pixels cannot be told without running it ({unread[0].what[:100]})"
        )
    if not found:
        return None, None, False
    if len(found) > 1:
        raise ValueError(f"it normalises pixels in {len(found)} ways: {shown(list(found), 300)}")
    return next(iter(found))


def _normalisation(item: Mapping[Any, Any], *, preprocessor: bool) -> tuple[Triple, Triple, bool]:
    """One way to normalise pixels: mean and std of RGB in 0..1, and whether BGR follows.

    OpenMMLab reads BGR in 0..255. Its Normalize turns that to RGB unless told otherwise, its
    data preprocessors do so only when told; MMSelfSup 0.x has torchvision's Normalize, which takes
    RGB in 0..1 and knows no such flag. Mean and std are in the order of what comes out.
    """
    flags = {key: item[key] for key in ("to_rgb", "bgr_to_rgb", "rgb_to_bgr") if key in item}
    mean, std = _three(item["mean"], "mean"), _three(item["std"], "std")
    if any(not isinstance(flag, bool) for flag in flags.values()):
        raise ValueError(f"its order of colours ({flags!r}) cannot be told without running it")
    at_255 = preprocessor or max(*map(abs, mean), *std) > 1
    if not at_255 and not any(mean):
        raise ValueError(f"mean {mean} and std {std} do not tell whether pixels are 0..1 or 0..255")
    rgb = bool(flags.get("to_rgb", flags.get("bgr_to_rgb", not preprocessor)))
    if flags.get("rgb_to_bgr"):
        raise ValueError("its pixels are turned by rgb_to_bgr, which is not built here")
    scale = 255.0 if at_255 else 1.0
    order = (0, 1, 2) if rgb else (2, 1, 0)
    triples = [tuple(round(values[i] / scale, 10) for i in order) for values in (mean, std)]
    return triples[0], triples[1], not rgb  # type: ignore[return-value]


def _hides(was: Any) -> bool:
    """Whether what could not be read to its end is a way to normalise pixels."""
    return any(
        isinstance(item, Mapping)
        and ({"mean", "std"} <= set(item) or str(item.get("type")).endswith("Normalize"))
        for item in walk(was)
    )


def _three(value: Any, what: str) -> Triple:
    plain = [v for v in value if isinstance(v, int | float)] if _listed(value) else []
    numbers = [float(v) for v in plain if isinstance(v, float) or abs(v) < 10**300]
    if len(numbers) != 3 or len(value) != 3:
        raise ValueError(f"its {what} of pixels, {shown(value)}, is not three numbers")
    return numbers[0], numbers[1], numbers[2]


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple)
