"""Classic augmentation with and without mollification (table 1): a grid for `python -m mollax.sweep`.

Words: none for {no augmentation, FCR, FCR + AugMix, FCR + TrivAug}, `more` for the other policies, `all` for both.
"""

from mollax.grid import product

OFF = {"augment.flip": False, "augment.pad": 0, "augment.degrees": 0.0}
MAIN = {
    "none": OFF,
    "FCR": {},
    "FCR + AugMix": {"augment.policy": "augmix"},
    "FCR + TrivAug": {"augment.policy": "trivial"},
}
MORE = {
    "FCR + RandAug": {"augment.policy": "rand"},
    "FCR + AutoAug": {"augment.policy": "auto"},  # the ImageNet policy, as the authors of the paper use it everywhere
    "FCR + MixUp": {"augment.mix": "mixup"},
    "FCR + CutMix": {"augment.mix": "cutmix"},
}
MOLLIFIED = {"": {"mollify.enabled": False}, "mollified": {}}


def get_grid(word: str = "") -> dict:
    """{label: {field: value}}."""
    axes = {"": MAIN, "more": MORE, "all": MAIN | MORE}
    if word not in axes:
        raise ValueError(f"policies.py knows the words 'more' and 'all'; got {word!r}.")
    return product(axes[word], MOLLIFIED)
