"""MNIST with a critic: TV-OOD learns from the digits' own shuffled blocks (table 1's form on two cores).

    python -m mollax.main --config=configs/mnist_tv_ood.py --config.data.path=FOLDER --workdir=runs/mnist_tv

Digits 0 to 5 are known; 6 to 9 are near. Far sets: noise, Fashion-MNIST (`--config.eval.ood.sets.fashion.path=FOLDER`).
Words after a colon, joined by commas: `small` (10,000 images, 3 epochs, for two cores), `none` (no critic: what the
scores of a plain classifier say), `logit_norm`, `generalized_odin` (a head of another kind, and its score), `exposure`,
`energy`, `balanced_energy` (instead of total variation), `gan` (a GAN's negatives instead of shuffled blocks; these
three continue a trained classifier, `--config.init_from=RUN`), `head` (the critic alone learns), `smoke`.
"""

from ml_collections import ConfigDict

from mollax import ood_recipes, recipes


def small(config: ConfigDict) -> None:
    """A budget for two cores."""
    config.data.limit = 11_000
    config.data.test_limit = 2000
    config.train.duration = "3 epochs"


def get_config(argument: str = "") -> ConfigDict:
    """The 5-layer CNN, ten epochs; total variation with weight 1 beside the cross-entropy. Ours."""
    config = recipes.base()
    config.name = "mnist-tv-ood"
    config.data.reader = "idx"
    config.data.classes = tuple("012345")
    config.model.name = "cnn"
    config.optim.update({"name": "adamw", "lr": 1e-3, "weight_decay": 0.01})
    config.augment.flip = False
    config.augment.pad = 2
    config.train.duration = "10 epochs"
    ood_recipes.detect(config, "tv")
    config.eval.ood.sets = {
        "other_digits": {"group": "near", "reader": "data", "split": "all", "limit": 5000, "classes": tuple("6789")},
        "uniform": {"group": "far", "reader": "noise", "name": "uniform"},
        "gaussian": {"group": "far", "reader": "noise", "name": "gaussian"},
        "fashion": {"group": "far", "reader": "idx", "path": ""},
    }
    return recipes.variant(config, argument, small=small, gan=ood_recipes.gan, **ood_recipes.METHODS)
