"""What libraries call the arrays of a ViT: each naming is found, names and layouts against ones written out."""

import numpy as np
import pytest

from mollax.models.vit_names import NAMINGS, convert, find_naming, source

BY_TITLE = {naming.title: naming for naming in NAMINGS}


@pytest.mark.parametrize(
    "title, ours, theirs",
    [
        ("Google", "trunk/token", ("cls", None)),
        (
            "Google",
            "trunk/block12/attention/out/bias",
            ("Transformer/encoderblock_11/MultiHeadDotProductAttention_1/out/bias", None),
        ),
        ("timm", "trunk/block1/attention/value/kernel", ("blocks.0.attn.qkv.weight", 2)),
        ("timm", "trunk/block10/norm2/scale", ("blocks.9.norm2.weight", None)),
        (
            "torchvision",
            "trunk/block2/attention/key/bias",
            ("encoder.layers.encoder_layer_1.self_attention.in_proj_bias", 1),
        ),
        ("torchvision", "linear/kernel", ("heads.head.weight", None)),
        ("Hugging Face", "trunk/block3/dense2/bias", ("encoder.layer.2.output.dense.bias", None)),
        ("Hugging Face", "trunk/positions", ("embeddings.position_embeddings", None)),
    ],
)
def test_names(title, ours, theirs):
    assert source(BY_TITLE[title], ours) == theirs


@pytest.mark.parametrize("title", BY_TITLE)
def test_a_naming_is_found_by_its_mark_alone(title):
    naming = BY_TITLE[title]
    assert find_naming({naming.mark: None}) is naming
    assert find_naming({f"vit.{naming.mark}": None}) is naming
    assert sum(naming.mark in {source(naming, ours)[0] for ours in OURS} for naming in NAMINGS) == len(NAMINGS)
    assert all(other.mark not in {source(naming, ours)[0] for ours in OURS} for other in NAMINGS if other != naming)


OURS = [f"trunk/{name}" for name in ("token", "positions", "patch/kernel", "patch/bias", "norm/scale", "norm/bias")]
OURS += [f"trunk/block1/{name}" for name in ("norm1/scale", "dense1/kernel", "attention/query/kernel")]


def test_layouts(rng):
    kernel = rng.normal(size=(6, 2, 3)).astype(np.float32)
    google, timm = BY_TITLE["Google"], BY_TITLE["timm"]
    inside = "trunk/block1/attention"
    np.testing.assert_array_equal(convert(google, f"{inside}/query/kernel", kernel, None), kernel.reshape(6, 6))
    out = kernel.transpose(1, 2, 0)
    np.testing.assert_array_equal(convert(google, f"{inside}/out/kernel", out, None), out.reshape(6, 6))
    np.testing.assert_array_equal(convert(google, f"{inside}/key/bias", kernel[0], None), kernel[0].reshape(6))
    fused = rng.normal(size=(18, 6)).astype(np.float32)
    np.testing.assert_array_equal(convert(timm, f"{inside}/key/kernel", fused, 1), fused[6:12].T)
    patches = rng.normal(size=(8, 3, 2, 2))
    found = convert(timm, "trunk/patch/kernel", patches, None)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[1, 0, 2], patches[:, 2, 1, 0].astype(np.float32))


def test_unknown_names():
    with pytest.raises(ValueError, match=r"no ViT whose names are known.*found no arrays"):
        find_naming({})
