"""What configs that detect other sets share: how the network learns from outliers, and the scores that are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from mollax import ood

# Every score that runs on any of our networks, plain softmax first: the others are compared with it.
SCORES = (
    "msp",
    "max_logit",
    "energy",
    "odin",
    "mahalanobis:shrinkage=0.01",
    "relative_mahalanobis:shrinkage=0.01",
    "knn",
    "ash:variant=s,negative=clip",
    "vim",
    "react",
    "bfact",
    "rankfeat",
    "gradnorm",
    "drift",
)
LINEAR = ("ash", "vim", "react", "bfact", "rankfeat", "gradnorm")  # those of them that need a linear head
CRITIC_SCORES = ("tv", "tv:variant=extra", "tv:variant=difference")


# TinyImageNet's classes that show one of CIFAR-10's: frogs, birds, dogs, domestic cats, a gazelle (deer), cars, boats.
LIKE_CIFAR10 = (
    *("n01641577", "n01644900", "n01855672", "n02002724", "n02056570", "n02058221"),
    *("n02085620", "n02094433", "n02099601", "n02099712", "n02106662", "n02113799"),
    *("n02123045", "n02123394", "n02124075", "n02423022"),
    *("n02814533", "n03100240", "n03670208", "n04285008", "n03796401", "n03977966", "n03447447", "n03662601"),
)


def detect(config: ConfigDict, method: str) -> None:
    """Learns from outliers by `method` ("" for not at all) and compares all scores; no mollification."""
    config.mollify.enabled = False
    config.eval.stress = ()
    learn(config, method)


def learn(config: ConfigDict, method: str, *, weight: float = 1.0) -> None:
    """Sets the method, its weight, and the scores that go with it."""
    config.ood.method = method
    config.ood.weight = weight
    critic = method in ood.DIVERGENCES
    config.eval.ood.scores = (*SCORES, *CRITIC_SCORES) if critic else SCORES


def photographs(config: ConfigDict, model: str) -> None:
    """A network for small photographs, 100 epochs: no paper names a schedule for TV-OOD, this is ours."""
    config.model.name = model
    config.optim.update({"lr": 0.1, "nesterov": True, "warmup": "5 %"})
    config.augment.degrees = 0.0
    config.train.duration = "100 epochs"
    detect(config, "tv")


def small(config: ConfigDict) -> None:
    """A budget for two cores: ResNet-8 of 2x2 patches, 5 epochs."""
    config.model.name = "resnet8"
    config.model.options.patch = 2
    config.train.duration = "5 epochs"
    config.eval.every = "100 %"


def natural_sets(config: ConfigDict, *, excluded: tuple[str, ...] = ()) -> None:
    """Sets to detect for small color images: half of TinyImageNet's classes, digits, noise, and ID images in fog.

    The other half of TinyImageNet is for learning (word `auxiliary`). Paths are empty: give those that you have. The
    set "tin_as_stored" is "tin" without the labelled images' codec: how much of the difference is storage.
    """
    tin: dict[str, Any] = {"reader": "tiny_imagenet", "path": "", "split": "test", "classes": tuple(range(100, 200))}
    tin |= {"excluded": excluded, "jpeg_quality": 0}
    config.eval.ood.sets = {
        "tin": {"group": "far", **tin},
        "tin_as_stored": {"group": "far", **tin},
        "mnist": {"group": "far", "reader": "idx", "path": "", "jpeg_quality": 0},
        "svhn": {"group": "far", "reader": "tfds", "name": "svhn_cropped", "path": "", "jpeg_quality": 0},
        "textures": {"group": "far", "reader": "images", "path": "", "jpeg_quality": 0},
        "uniform": {"group": "far", "reader": "noise", "name": "uniform", "jpeg_quality": 0},
        "gaussian": {"group": "far", "reader": "noise", "name": "gaussian", "jpeg_quality": 0},
        "fog": {"group": "shifted", "reader": "corruption", "name": "fog:3"},
    }
    config.ood.auxiliary.update({**tin, "split": "train", "classes": tuple(range(100))})


def auxiliary(config: ConfigDict) -> None:
    """Learns from TinyImageNet's other classes and from shuffled blocks, half each: table 1's "with auxiliary"."""
    config.name += "-auxiliary"
    config.ood.sources.update({"block_shuffle": 1.0, "auxiliary": 1.0})


def gan(config: ConfigDict) -> None:
    """Learns from what a GAN makes on features of a trained classifier, instead of shuffled blocks."""
    config.name += "-gan"
    config.ood.sources.update({"block_shuffle": 0.0, "gan": 1.0})


def stored_as_jpeg(config: ConfigDict) -> None:
    """Reads a folder of JPEG images (quality 75) and puts all others through that codec, but "tin_as_stored"."""
    config.data.reader = "folder"
    config.data.channels = 3
    config.ood.auxiliary.jpeg_quality = 75
    for name, about in config.eval.ood.sets.items():
        if name != "tin_as_stored" and "jpeg_quality" in about:
            about.jpeg_quality = 75


def instead(config: ConfigDict, method: str, weight: float = 1.0) -> None:
    """Another method than the config's; "" for none."""
    config.name += f"-{method or 'none'}"
    learn(config, method, weight=weight)


def _logit_norm(config: ConfigDict) -> None:
    """LogitNorm: no outliers, logits of one length in the loss."""
    config.name += "-logit_norm"
    learn(config, "")
    config.loss.name = "logit_norm"


def _generalized_odin(config: ConfigDict) -> None:
    """A decomposed head by cosines (DeConf-C), its score, and those of the others that take its logits."""
    config.name += "-generalized_odin"
    learn(config, "")
    config.model.head = "cosine"
    others = [score for score in SCORES if score.partition(":")[0] not in LINEAR]
    config.eval.ood.scores = (*others, "generalized_odin")


def _head(config: ConfigDict) -> None:
    """The critic alone learns, on the classifier of `init_from`."""
    config.name += "-head"
    config.ood.mode = "head"


# Weights are those of the papers (METHODS section 3).
METHODS: dict[str, Callable[[ConfigDict], None]] = {
    "none": lambda config: instead(config, ""),
    "logit_norm": _logit_norm,
    "generalized_odin": _generalized_odin,
    "exposure": lambda config: instead(config, "exposure", 0.5),
    "energy": lambda config: instead(config, "energy", 0.1),
    "balanced_energy": lambda config: instead(config, "balanced_energy", 0.1),
    "head": _head,
}


def _source(name: str) -> Callable[[ConfigDict], None]:
    """Shuffled blocks of images after AugMix or CutMix (table 2), instead of images as they are."""

    def change(config: ConfigDict) -> None:
        config.name += f"-{name}"
        config.ood.sources.update({"block_shuffle": 0.0, name: 1.0})

    return change


def _woods(config: ConfigDict) -> None:
    """WOODS on a tenth of TinyImageNet's images among unlabelled ones; continues a trained classifier."""
    instead(config, "woods")
    config.ood.sources.update({"block_shuffle": 0.0, "auxiliary": 1.0})


# Beside the methods: sources of outliers, and images stored as JPEG.
WORDS: dict[str, Callable[[ConfigDict], None]] = {
    "jpeg": stored_as_jpeg,
    "auxiliary": auxiliary,
    "augmix": _source("augmix"),
    "cutmix": _source("cutmix"),
    "gan": gan,
    **METHODS,
    "woods": _woods,
}
