"""A classifier and a critic on its features under one roof: one tree of variables, one contract with evaluators."""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array, Float, Shaped

from mollax import checks


class CriticClassifier(nn.Module):
    """A classifier f with a head beside its own that tells ID from OOD images.

    Parameters are under "classifier" and "critic". Called as a network, it is the classifier alone.

    Attributes:
      classifier: a network of `mollax.models`.
      critic: from features to outputs, such as `Critic`; or from logits to one number each, such as `LogisticUnit`.
      on: what the critic looks at, "features" or "logits".
    """

    classifier: nn.Module
    critic: nn.Module
    on: str = "features"

    def __post_init__(self) -> None:
        checks.one_of("on", self.on, ("features", "logits"))
        super().__post_init__()

    def __call__(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n k"]:
        """Logits of standardised images (n, h, w, c)."""
        return self.classifier(images, train=train)

    def features(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n d"]:
        """Penultimate features of the classifier."""
        return self.classifier.features(images, train=train)

    def feature_maps(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n h w d"]:
        """Maps before pooling of the classifier."""
        return self.classifier.feature_maps(images, train=train)

    def similarities(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n k"]:
        """Similarities of the classifier's head where it is decomposed, else its logits."""
        return self.classifier.similarities(images, train=train)

    def head(self, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Logits of features."""
        return self.classifier.head(features)

    def judge(self, features: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """The critic's outputs for features; (n, 1) of a critic on logits."""
        if self.on == "features":
            return self.critic(features)
        return self.critic(self.classifier.head(features))[:, None]

    def start(self, images: Float[Array, "n h w c"]) -> None:
        """Touches both parts, so that `init` makes the variables of both."""
        features = self.classifier.features(images, train=False)
        self.classifier.head(features)
        self.judge(features)
