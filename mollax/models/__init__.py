"""Networks, as Flax Linen modules, and a table of them by name.

Images are NHWC float32, standardised by the caller, gray (1 channel) or color (3). Every network is a
`Classifier`: `model.apply(variables, images, train=...)` gives float32 logits (n, classes);
`method="features"` the penultimate features (n, d); `method="feature_maps"` the maps before pooling
(n, h, w, d); `method="head"` maps features to logits. A head other than the linear one (`confidence`) also gives
`method="similarities"`. Parameters are float32; the trunk computes in `dtype`.
In training, "batch_stats" must be mutable and an rng "dropout" given where the network has them. Weights
start as in He et al. 2015 (Kaiming); each class says in which form.
"""

from mollax.models.allconv import AllConv
from mollax.models.classifier import Classifier
from mollax.models.cnn import CNN
from mollax.models.conv13 import Conv13
from mollax.models.densenet import DenseNet
from mollax.models.googlenet import GoogLeNet
from mollax.models.mlp import MLP
from mollax.models.preact_resnet import PreActResNet
from mollax.models.pretrained import load_vit, resize_positions, restandardize, to_vit_params
from mollax.models.resnet import ResNet
from mollax.models.resnet_cifar import ResNetCifar
from mollax.models.resnext import ResNeXt
from mollax.models.table import MODELS, count_parameters, create_model, model_options
from mollax.models.vit import ViT
from mollax.models.weight_files import read_weights
from mollax.models.wide_resnet import WideResNet

__all__ = [
    "CNN",
    "MLP",
    "MODELS",
    "AllConv",
    "Classifier",
    "Conv13",
    "DenseNet",
    "GoogLeNet",
    "PreActResNet",
    "ResNeXt",
    "ResNet",
    "ResNetCifar",
    "ViT",
    "WideResNet",
    "count_parameters",
    "create_model",
    "load_vit",
    "model_options",
    "read_weights",
    "resize_positions",
    "restandardize",
    "to_vit_params",
]
