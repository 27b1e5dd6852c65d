"""Your own images: a folder (or zip of one) with a sub-folder for each class, with or without train/val/test.

    python -m mollax.main --config=configs/folder.py --config.data.path=FOLDER --workdir=runs/mine

Images that it should not know: `--config.eval.ood.sets.mine.path=OTHER_FOLDER` says how well they are told apart.

Images are cropped to 64x64; set --config.data.image_size for another side. Gray images become color, transparent ones
are refused, unreadable ones are skipped, counted and listed. Words after a colon, joined by commas: `small` (ResNet-8,
for CPU), `plain` (no mollification), `smoke`.
"""

from ml_collections import ConfigDict

from mollax import recipes


def small(config: ConfigDict) -> None:
    """ResNet-8 for a run on CPU."""
    config.model.name = "resnet8"
    config.optim.lr = 0.05
    config.train.duration = "30 epochs"


def get_config(argument: str = "") -> ConfigDict:
    """Color images of one size, classes from folder names."""
    config = recipes.base()
    config.name = "my-images"
    config.data.reader = "folder"
    config.data.image_size = 64
    config.data.resize = "crop"
    config.data.channels = 3
    config.data.on_bad_image = "skip"
    config.model.name = "preact_resnet18"
    config.optim.lr = 0.02
    config.optim.warmup = "5 %"
    config.train.duration = "60 epochs"
    config.train.batch_size = 64
    config.eval.ood.scores = ("msp", "energy", "mahalanobis:shrinkage=0.01", "knn", "vim")
    config.eval.ood.sets = {
        "mine": {"group": "far", "reader": "images", "path": ""},
        "noise": {"group": "far", "reader": "noise", "name": "uniform"},
    }
    return recipes.variant(config, argument, small=small, plain=recipes.plain)
