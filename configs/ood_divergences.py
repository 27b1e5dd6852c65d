"""Which divergence should a critic learn? Total variation and the others on one set (table 3 in form).

    python -m mollax.main --config=configs/ood_divergences.py:hellinger --config.data.path=cifar-10-python.tar.gz \
        --config.eval.ood.sets.tin.path=tiny-imagenet-200.zip --workdir=runs/hellinger

Words after a colon, joined by commas: one of `tv`, `dv`, `nwj`, `reverse_kl`, `pearson`, `hellinger`, `jensen_shannon`,
`gan`, `bc` (joint against product: half of gan's objective) and `bc_id_ood` (the paper's binary classifier, as we read
it), then `small` (ResNet-8 of 2x2 patches, 5 epochs, for two cores), `jpeg`, `head`, `smoke`; see
configs/cifar10_tv_ood.py.
"""

import functools

from ml_collections import ConfigDict

from mollax import ood, ood_recipes, recipes


def get_config(argument: str = "") -> ConfigDict:
    """WRN-40-2 on CIFAR-10, 100 epochs, shuffled blocks as outliers; the schedule is ours."""
    config = recipes.base()
    config.name = "ood-divergences"
    config.data.reader = "cifar"
    ood_recipes.photographs(config, "wrn40_2")
    ood_recipes.natural_sets(config, excluded=ood_recipes.LIKE_CIFAR10)
    names = {name: functools.partial(ood_recipes.instead, method=name) for name in ood.DIVERGENCES}
    words = {"small": ood_recipes.small, "jpeg": ood_recipes.stored_as_jpeg, "head": ood_recipes.METHODS["head"]}
    return recipes.variant(config, argument, **words, **names)
