"""Every field that a config may have, with its default; configs/*.py are short deltas on `base()`.

Durations are text with a unit ("2000 steps", "30 epochs", "5 %"; see `mollax.durations`). Fields are locked: a misspelt
one fails and names the nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mollax import checks


def base() -> ConfigDict:
    """The defaults: a plain ResNet-8 on digits with mollification as the paper's section 4 has it."""
    return ConfigDict(
        {
            "name": "digits",  # what tables and the report call the run
            "seed": 0,  # of parameters, data order, augmentation and mollification; not of the splits
            "data": {
                "reader": "digits",  # digits, sprites, idx, folder, npz, cifar, tiny_imagenet or tfds
                "path": "",  # file or folder; "" for embedded and drawn data
                "name": "",  # tfds: name in its catalogue
                "image_size": 0,  # side in pixels; 0 keeps the stored size
                "resize": "stretch",  # or "crop": short side, then centre
                "channels": 0,  # 1, 3, or 0 as stored
                "alpha": "raise",  # alpha channels: "raise", "drop" or blend on "white"
                "on_bad_image": "raise",  # or "skip", counted and listed
                "classes": (),  # names or indices to keep; () keeps all
                "long_tail": 1.0,  # rho: first class's share over the last's
                "rotated": 0.0,  # degrees; every image of every split is turned once, uniformly within +- this
                "limit": 0,  # training images to keep; 0 keeps all
                "test_limit": 0,  # test images to keep; 0 keeps all
                "validation": 0.1,  # share of train that becomes validation where there is none
                "test": 0.2,  # share of train that becomes test where there is none
                "duplicates": "note",  # images shared by two splits: "note", "drop" or "raise"
                "split_seed": 0,  # of splits and subsets
                "angles": "45",  # sprites: "45", "90" or "three_modes"
                "per_class": 1000,  # sprites: training images of a class
                "test_per_class": 250,  # sprites: test images of a class
                "label_kind": "fine",  # CIFAR-100: or "coarse"
                "memory": "auto",  # "device", "stream", or "auto" by size
                "limit_mib": 1024,  # "auto" keeps up to this on the device
                "workers": 0,  # processes that decode streamed images
            },
            "init_from": "",  # folder of a run whose classifier this one starts from
            "model": {
                "name": "resnet8",  # a key of mollax.models.MODELS
                "dtype": "float32",  # of the computation: or "bfloat16"
                "options": {},  # of that model, such as {"final_norm": True}
                "head": "linear",  # or a decomposed confidence of Generalised ODIN: cosine, euclidean, inner
                "weights": "",  # of vit_*: .npz or .safetensors file; "" starts at random, which is said
                "weights_statistics": "",  # what its images were standardised by: half, imagenet, own; "" by its names
            },
            "augment": {
                "flip": True,  # horizontal, half of the time
                "pad": -1,  # pad-crop in pixels; -1 is side / 8, 0 is off
                "degrees": 15.0,  # rotation up to; 0 is off
                "interpolation": "bilinear",  # or "nearest"
                "padding": "zeros",  # what comes in: zeros, border, reflect or mean
                "policy": "",  # after these: rand, auto, fast_auto, trivial or augmix
                "policy_options": {},  # of that policy, such as {"policy": "cifar10"} for auto and fast_auto
                "mix": "",  # of pairs of images after all that: mixup or cutmix
                "mix_alpha": 1.0,  # the share is Beta(alpha, alpha)
                "mix_per_image": False,  # one share an image instead of one a batch
            },
            "mollify": {
                "enabled": True,
                "roles": ("none", "noise", "blur"),  # drawn alike; also "pure_noise"
                "alpha": 1.0,  # t ~ Beta(alpha, beta)
                "beta": 2.0,
                "noise_power": 1.0,  # k of eq 12
                "blur_power": 1.0,  # k of eq 13
                "blur_decay": "power",  # t^k, or "measured" from PNG sizes
                "label_form": "smooth",  # eq 8; temper (eq 7), extra, extra_keep, none
                "min_scale": 0.3,  # blur at t = 0, in pixels
                "generator": "hash",  # of the noise; or "threefry"
                "repeats": 1,  # draws of an image in a batch (appendix D)
            },
            "invariance": {
                "augmenter": "",  # uniform, augerino, instaaug, gaussian, crop_grid, flow or flow_and_grid; "" is off
                "kind": "rotation",  # of the transforms; a key of mollax.invariance.KINDS
                "options": {},  # of the augmenter, such as {"layers": 4, "modes": 3} of the flow
                "entry_range": 3.141592653589793,  # of the decoupled kinds: a matrix entry at a parameter of 1
                "padding": "zeros",  # what comes in: zeros, border, reflect or mean
                "limits": (0.7, 1.0),  # crops: smallest and largest side
                "late_limits": (),  # those from late_from on; () keeps limits
                "late_from": "",  # a duration; "" for never
                "pose": "cnn",  # embeds images; or crop_network, 321 numbers of an image with 64 pixels a side
                "pose_options": {},  # of the cnn, such as {"widths": (16, 32, 64, 128)}
                "embedding": 32,  # of the cnn
                "copies": 1,  # transforms of an image in a batch
                "include_original": False,  # adds the cross-entropy of the image as it is
                "average": "loss",  # over copies, eq 9; or "logits" before the loss
                "warmup": "0 steps",  # images stay as they are, the augmenter does not learn
                "freeze_classifier": False,
                "controller": "fixed",  # of the penalty's weight: or annealed, pid, range
                # Such as {"target": 0.5} of pid, in nats; "period" of annealed and range is a duration.
                "controller_options": {},
                "weight": 0.1,  # alpha of eq 10; for pid and range at the start, for annealed at the end
                "optim": {  # of the augmenter; momentum, nesterov, b1 and b2 are those of the classifier
                    "name": "adamw",
                    "lr": 1e-3,
                    "schedule": "constant",
                    "weight_decay": 0.01,
                    "clip_norm": 1.0,  # of the augmenter's gradient alone: a draw near the bounds can be huge
                },
                "predict": {  # p(C|I), eq 7
                    "draws": 20,  # transforms averaged over; 0 takes the image as it is
                    "average": "probs",  # or logits, log_probs
                    "radius": 0.0,  # above 0, only parameters with a smaller norm, and the image itself
                },
            },
            "ood": {
                "method": "",  # of learning from outliers: tv, dv, ..., exposure, energy, woods, ...; "" is off
                "options": {},  # of the method, such as {"m_in": -23.0, "m_out": -5.0} of energy; measured by default
                "weight": 1.0,  # of its penalty beside the cross-entropy
                "mode": "joint",  # or "head": the critic alone learns
                "id_share": 0.5,  # m of the divergences
                "hidden": (),  # widths of the critic's hidden layers
                "sources": {  # shares of outliers
                    "block_shuffle": 1.0,
                    "augmix": 0.0,
                    "cutmix": 0.0,
                    "auxiliary": 0.0,
                    "gan": 0.0,
                },
                "ratio": 1.0,  # outliers per labelled image
                "grid": 4,  # blocks a side that change places
                "batch_norm": "together",  # statistics of labelled images and outliers, or of "id" images alone
                "auxiliary": {  # a set to learn from
                    "reader": "",
                    "path": "",
                    "name": "",
                    "split": "train",
                    "classes": (),
                    "excluded": (),  # classes that the labelled images have too
                    "limit": 0,
                    "resize": "",  # "stretch" or "crop"; "" as data.resize
                    "jpeg_quality": 0,  # above 0, through JPEG as the labelled images were
                },
                "more_auxiliary": {},  # by name, further sets with the same fields; images of all are drawn alike
                "gan": {  # learns before the first step
                    "on": "features",  # of the classifier of init_from; or "pixels"
                    "options": {},  # of mollax.ood.feature_gan or pixel_gan, such as {"rate": 1e-4}
                    "steps": 2000,
                    "batch_size": 128,
                    "images": 10_000,  # training images that it imitates; 0 takes all
                    "generators": 5,  # kept at equal distances of its training; each step draws from one of them
                },
            },
            "loss": {
                "name": "cross_entropy",  # eq 14; "normalized" is appendix C; "logit_norm"
                "marginal": "jensen",  # over repeats: naive, corrected
                "consistency": 0.0,  # weight of AugMix's loss with policy augmix (12 in its paper); 0 is off
            },
            "optim": {
                "name": "sgd",  # or "adamw"
                "lr": 0.01,
                "momentum": 0.9,
                "nesterov": False,
                "b1": 0.9,  # adamw
                "b2": 0.999,  # adamw
                "weight_decay": 5e-4,
                "decay_mask": "all",  # "kernels" spares biases and norm scales
                "schedule": "cosine",  # "step", "constant"
                "warmup": "0 steps",
                "milestones": (),  # "step": durations
                "factor": 0.1,  # "step": at each milestone
                "clip_norm": 0.0,  # global norm of the gradient; 0 is off
                "accumulate": 1,  # parts that a device's slice is cut into
                "ema": 0.0,  # decay of averaged weights, which are then evaluated; 0 is off
            },
            "train": {
                "duration": "300 epochs",
                "batch_size": 128,  # over all devices; images, before repeats
                "steps_per_dispatch": 1,  # scanned on the device; intervals are rounded to it
            },
            "log": {"every": "50 steps"},
            "eval": {
                "every": "10 %",  # validation during training
                "batch_size": 500,
                "bins": 15,  # of ECE
                "resamples": 1000,  # of the bootstrap intervals
                "stress": (
                    "noise:0.3",
                    "blur:0.3",
                    "gaussian_noise:0.1",
                    "gaussian_blur:1",
                    "contrast:0.3",
                ),
                "transforms": {  # what an augmenter has learned
                    "images": 200,  # of the test set, spread evenly
                    "draws": 200,  # of each
                    "aligned": 0,  # images moved by mean shift; 0 is off
                    "steps": 10,  # of the mean shift
                    "step_size": 0.1,
                    "align_draws": 50,
                },
                "rotations": {  # accuracy against the rotation of test images, for any run
                    "angles": (),  # degrees; () is off
                    "images": 1000,  # 0 takes all
                    "kl_degrees": 0.0,  # expected KL under random rotations up to this; 0 is off
                    "kl_draws": 10,
                },
                "ood": {  # detection of other sets, for any run; needs scores and sets
                    "scores": (),  # such as "energy" or "ash:variant=b,percentile=65"; the first is what others meet
                    "sets": {},  # by name: {"group": near, far or shifted, "reader": ..., "path": ..., ...}
                    "bank": 50_000,  # training images that scores are fitted on; 0 takes all
                    "images": 0,  # of test and of each set; 0 takes all
                    "resamples": 1000,  # of the bootstrap intervals; 0 is off
                },
                "drift": {  # how far test images and the sets of `ood` are from training images, for any run
                    "images": 0,  # of validation, test and each set; 0 is off
                    "bank": 10_000,  # training images that they are compared with; 0 takes all
                },
                "corruptions": (),  # names, "test" (the 15 of the benchmark), "extra" (4 more); at 5 severities each
                "corrupted_images": 2000,  # of the test set, spread evenly; 0 corrupts all
                "baseline": "",  # errors relative to this run's folder; alexnet (mCE) on the published ImageNet-C
                "corruption_cache": "",  # folder that keeps corrupted images for later runs
                "corruption_path": "",  # folder of CIFAR-10-C, ImageNet-C or mollax.corrupt_set; "" makes the images
            },
            "checkpoint": {"every": "10 %", "keep": 2},
        }
    )


def shrink(config: ConfigDict) -> None:
    """Makes any config a smoke run: a few steps on a few images, the same code paths, under a minute on 2 cores."""
    config.name += "-smoke"
    config.data.limit = 400
    config.data.test_limit = 200  # TinyImageNet has as many classes
    config.train.duration = "6 steps"
    config.train.batch_size = 16
    config.optim.warmup = "1 steps"
    config.log.every = "2 steps"
    config.eval.every = "3 steps"
    config.eval.batch_size = 100
    config.eval.resamples = 100
    config.checkpoint.every = "3 steps"
    config.eval.transforms.update({"images": 10, "draws": 20, "steps": 2, "align_draws": 4})
    config.eval.transforms.aligned = min(config.eval.transforms.aligned, 10)
    config.eval.rotations.update({"images": 20, "kl_draws": 2, "angles": config.eval.rotations.angles[:2]})
    config.eval.ood.update({"images": 60, "resamples": 20})
    config.eval.drift.update({"images": min(config.eval.drift.images, 60), "bank": 200})
    config.ood.gan.update({"steps": 10, "batch_size": 16, "images": 100})
    config.invariance.predict.draws = min(config.invariance.predict.draws, 2)
    config.invariance.copies = min(config.invariance.copies, 2)
    if config.invariance.augmenter:
        config.invariance.warmup = "2 steps"
        config.invariance.late_from = config.invariance.late_from and "4 steps"


def plain(config: ConfigDict) -> None:
    """The same training without mollification."""
    config.name += "-plain"
    config.mollify.enabled = False


def read_images(config: ConfigDict) -> None:
    """Reads `config.data.path` as an image folder, or a zip of one, instead of the set's own format."""
    config.data.reader = "folder"
    config.data.channels = 3


def assign(config: ConfigDict, name: str, value: Any) -> None:
    """Sets the field of a dotted name; for words that change one field."""
    *path, last = name.split(".")
    for part in path:
        config = config[part]
    config[last] = value


def variant(config: ConfigDict, argument: str, **variants: Callable[[ConfigDict], None]) -> ConfigDict:
    """Applies the words after the colon of `--config=FILE:word,word`; "smoke" is always there, and the last.

    They are applied in the order of `variants`, whatever the order in which they are given: what a run is must not hang
    on that.

    Raises:
      ValueError: for a word that the config does not know; the nearest is named.
    """
    known: Mapping[str, Callable[[ConfigDict], None]] = {**variants, "smoke": variants.get("smoke", shrink)}
    given = {checks.one_of("config argument", word, known) for word in filter(None, argument.split(","))}
    for word in (*(word for word in known if word != "smoke"), "smoke"):
        if word in given:
            known[word](config)
    return config
