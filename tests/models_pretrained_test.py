"""Pretrained ViT weights: from each library's names back to the same logits, positions, heads, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_variables import drawn
from models_weight_files_test import write_safetensors

from mollax.models import ViT, load_vit, resize_positions, restandardize, to_vit_params

OPTIONS = {"patch": 4, "width": 12, "depth": 2, "heads": 3, "mlp": 20}
HEADS, WIDTH = 3, 12


def tiny(rng, side=12, classes=5):
    """A ViT, its parameters, and a function from (parameters, images) to logits."""
    model = ViT(classes=classes, **OPTIONS)
    params = drawn(model, rng, side, side, 3)["params"]
    return params, jax.jit(lambda p, x: model.apply({"params": p}, x, train=False))


def google(params):
    """As google-research/vision_transformer saves it: our layout, heads on an axis of their own."""
    trunk, out = params["trunk"], {}
    out["cls"], out["Transformer/posembed_input/pos_embedding"] = trunk["token"], trunk["positions"]
    for ours, theirs in ((trunk["patch"], "embedding"), (params["linear"], "head")):
        out |= {f"{theirs}/{leaf}": value for leaf, value in ours.items()}
    out |= {f"Transformer/encoder_norm/{leaf}": value for leaf, value in trunk["norm"].items()}
    for i in range(OPTIONS["depth"]):
        block, start = trunk[f"block{i + 1}"], f"Transformer/encoderblock_{i}"
        for ours, theirs in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            out |= {f"{start}/{theirs}/{leaf}": value for leaf, value in block[ours].items()}
        for ours, theirs in (("dense1", "Dense_0"), ("dense2", "Dense_1")):
            out |= {f"{start}/MlpBlock_3/{theirs}/{leaf}": value for leaf, value in block[ours].items()}
        for name, part in block["attention"].items():
            kernel = part["kernel"].reshape((HEADS, -1, WIDTH) if name == "out" else (WIDTH, HEADS, -1))
            bias = part["bias"] if name == "out" else part["bias"].reshape(HEADS, -1)
            inside = f"{start}/MultiHeadDotProductAttention_1/{name}"
            out |= {f"{inside}/kernel": kernel, f"{inside}/bias": bias}
    return out


def linear(name, part):
    return {f"{name}.weight": part["kernel"].T, f"{name}.bias": part["bias"]}


def norm(name, part):
    return {f"{name}.weight": part["scale"], f"{name}.bias": part["bias"]}


def patch(name, part):
    return {f"{name}.weight": part["kernel"].transpose(3, 2, 0, 1), f"{name}.bias": part["bias"]}


def fused(attention):
    parts = [attention[name] for name in ("query", "key", "value")]
    return {
        "weight": np.concatenate([p["kernel"].T for p in parts]),
        "bias": np.concatenate([p["bias"] for p in parts]),
    }


def timm(params):
    trunk = params["trunk"]
    out = {"cls_token": trunk["token"], "pos_embed": trunk["positions"]}
    out |= patch("patch_embed.proj", trunk["patch"]) | norm("norm", trunk["norm"]) | linear("head", params["linear"])
    for i in range(OPTIONS["depth"]):
        block, start = trunk[f"block{i + 1}"], f"blocks.{i}"
        out |= norm(f"{start}.norm1", block["norm1"]) | norm(f"{start}.norm2", block["norm2"])
        out |= {f"{start}.attn.qkv.{leaf}": value for leaf, value in fused(block["attention"]).items()}
        out |= linear(f"{start}.attn.proj", block["attention"]["out"])
        out |= linear(f"{start}.mlp.fc1", block["dense1"]) | linear(f"{start}.mlp.fc2", block["dense2"])
    return out


def torchvision(params):
    trunk = params["trunk"]
    out = {"class_token": trunk["token"], "encoder.pos_embedding": trunk["positions"]}
    out |= patch("conv_proj", trunk["patch"]) | norm("encoder.ln", trunk["norm"])
    out |= linear("heads.head", params["linear"])
    for i in range(OPTIONS["depth"]):
        block, start = trunk[f"block{i + 1}"], f"encoder.layers.encoder_layer_{i}"
        out |= norm(f"{start}.ln_1", block["norm1"]) | norm(f"{start}.ln_2", block["norm2"])
        out |= {f"{start}.self_attention.in_proj_{leaf}": x for leaf, x in fused(block["attention"]).items()}
        out |= linear(f"{start}.self_attention.out_proj", block["attention"]["out"])
        out |= linear(f"{start}.mlp.0", block["dense1"]) | linear(f"{start}.mlp.3", block["dense2"])
    return out


def hugging_face(params):
    trunk = params["trunk"]
    out = {"embeddings.cls_token": trunk["token"], "embeddings.position_embeddings": trunk["positions"]}
    out |= patch("embeddings.patch_embeddings.projection", trunk["patch"]) | norm("layernorm", trunk["norm"])
    for i in range(OPTIONS["depth"]):
        block, start = trunk[f"block{i + 1}"], f"encoder.layer.{i}"
        out |= norm(f"{start}.layernorm_before", block["norm1"]) | norm(f"{start}.layernorm_after", block["norm2"])
        for name in ("query", "key", "value"):
            out |= linear(f"{start}.attention.attention.{name}", block["attention"][name])
        out |= linear(f"{start}.attention.output.dense", block["attention"]["out"])
        out |= linear(f"{start}.intermediate.dense", block["dense1"]) | linear(f"{start}.output.dense", block["dense2"])
    return {f"vit.{name}": value for name, value in out.items()} | linear("classifier", params["linear"])


NAMINGS = {"Google": google, "timm": timm, "torchvision": torchvision, "Hugging Face": hugging_face}
EVERY = pytest.mark.parametrize("title", NAMINGS)


@EVERY
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_file_in_each_naming_gives_the_same_logits(title, suffix, tmp_path, rng):
    params, logits = tiny(rng)
    images = rng.normal(size=(4, 12, 12, 3)).astype(np.float32)
    expected = logits(params, images)
    weights, path = NAMINGS[title](params), tmp_path / f"w.{suffix}"
    if suffix == "npz":
        np.savez(path, **weights)
    else:
        write_safetensors(path, {name: np.ascontiguousarray(value) for name, value in weights.items()})
    others, _ = tiny(np.random.default_rng(5))
    assert np.abs(logits(others, images) - expected).max() > 0.1
    loaded, notes = load_vit(path, others, mean=np.zeros(3), std=np.ones(3), statistics="own")
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    np.testing.assert_allclose(logits(loaded, images), expected, atol=1e-6)
    assert notes == (f"{title}'s names", "with their head of 5 classes", "images as the weights saw them")


def test_torchvisions_own_network_agrees(rng):
    torch = pytest.importorskip("torch")
    try:
        from torchvision.models import VisionTransformer
    except (ImportError, RuntimeError) as error:  # a torchvision made for another torch
        pytest.skip(f"torchvision cannot be imported: {error}")
    torch.manual_seed(0)
    theirs = VisionTransformer(12, 4, 2, 3, 12, 20, num_classes=5).eval()
    for value in theirs.parameters():
        torch.nn.init.normal_(value, std=0.3)
    params, logits = tiny(rng)
    loaded, _ = to_vit_params({name: value.numpy() for name, value in theirs.state_dict().items()}, params)
    images = rng.normal(size=(4, 12, 12, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(logits(loaded, images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("before, after", [(3, 5), (6, 3), (4, 4)])
def test_positions_are_resized_as_torch_does(before, after, rng):
    torch = pytest.importorskip("torch")
    positions = rng.normal(size=(1, 1 + before**2, 7)).astype(np.float32)
    grid = torch.from_numpy(positions[:, 1:]).reshape(1, before, before, 7).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(grid, size=(after, after), mode="bicubic", antialias=True)
    expected = np.concatenate([positions[:, :1], resized.permute(0, 2, 3, 1).reshape(1, -1, 7).numpy()], 1)
    np.testing.assert_allclose(resize_positions(positions, 1 + after**2), expected, atol=1e-5)


def test_weights_of_another_image_size(rng):
    small, _ = tiny(rng, side=8)
    large, logits = tiny(rng, side=16)
    loaded, notes = to_vit_params(timm(small), large)
    assert "positions resized from 4 to 16 patches (bicubic)" in notes
    np.testing.assert_array_equal(loaded["trunk"]["positions"], resize_positions(small["trunk"]["positions"], 17))
    assert np.isfinite(logits(loaded, np.zeros((1, 16, 16, 3), np.float32))).all()
    with pytest.raises(ValueError, match="between square grids of patches and one class token; got 8 positions for 5"):
        resize_positions(np.zeros((1, 8, 3), np.float32), 5)
    with pytest.raises(ValueError, match="got 5 positions for 7"):
        resize_positions(np.zeros((1, 5, 3), np.float32), 7)


@EVERY
def test_a_head_that_does_not_fit_stays(title, rng):
    theirs, _ = tiny(rng)
    own, _ = tiny(rng, classes=7)
    loaded, notes = to_vit_params(NAMINGS[title](theirs), own)
    assert "the head of 7 classes stays random: theirs has 5 classes" in notes
    jax.tree.map(np.testing.assert_array_equal, loaded, {"trunk": theirs["trunk"], "linear": own["linear"]})
    headless = {name: x for name, x in NAMINGS[title](theirs).items() if "head" not in name and "classif" not in name}
    assert "the head of 7 classes stays random: theirs is not there" in to_vit_params(headless, own)[1]


def test_a_head_that_is_not_linear_stays(rng):
    theirs, _ = tiny(rng)
    own = {"trunk": tiny(rng)[0]["trunk"], "confidence": {"similarity": {"kernel": np.ones((WIDTH, 7), np.float32)}}}
    loaded, notes = to_vit_params(google(theirs), own)
    assert "the head, which is not linear, stays random" in notes
    assert any(note.startswith("not used: head/bias, head/kernel") for note in notes)
    jax.tree.map(np.testing.assert_array_equal, loaded, {**own, "trunk": theirs["trunk"]})


def test_what_is_not_used_is_said(rng):
    params, _ = tiny(rng)
    weights = google(params) | {"pre_logits/kernel": np.zeros((12, 12))}
    assert to_vit_params(weights, params)[1][-1] == "not used: pre_logits/kernel"


@EVERY
def test_weights_that_do_not_fit(title, rng):
    params, _ = tiny(rng)
    weights = NAMINGS[title](params)
    for name in weights:
        if "head" in name or "classifier" in name:
            continue
        short = {other: value for other, value in weights.items() if other != name}
        with pytest.raises(ValueError, match=r"The weights (have no array|are of no ViT whose names are known)"):
            to_vit_params(short, params)
        misshapen = weights | {name: np.concatenate([weights[name], weights[name]], -1)}
        with pytest.raises(ValueError, match=f"The array '{name.removeprefix('vit.')}' makes trunk/"):
            to_vit_params(misshapen, params)
    more = {name.replace("_1", "_2").replace(".1.", ".2."): value for name, value in weights.items()}
    with pytest.raises(ValueError, match="are of another network: its blocks have no place for"):
        to_vit_params(more | weights, params)


def test_other_networks(rng):
    params, _ = tiny(rng)
    with pytest.raises(ValueError, match=r"of no ViT whose names are known.*\(timm\).*found 'conv1.weight', \.\.\."):
        to_vit_params({"conv1.weight": np.zeros(3)}, params)
    with pytest.raises(ValueError, match="Weights can be loaded into ViTs alone"):
        to_vit_params(timm(params), {"trunk": {"stem": {"kernel": np.zeros(3)}}})


def test_images_standardised_otherwise_give_the_same_logits(rng, tmp_path):
    params, logits = tiny(rng)
    pixels = rng.uniform(size=(4, 12, 12, 3)).astype(np.float32)
    mean, std = np.array([0.4, 0.5, 0.3]), np.array([0.2, 0.3, 0.25])
    images = ((pixels - mean) / std).astype(np.float32)
    statistics = {
        "half": (np.full(3, 0.5), np.full(3, 0.5)),
        "imagenet": (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])),
    }
    np.savez(tmp_path / "google.npz", **google(params))
    np.savez(tmp_path / "torchvision.npz", **torchvision(params))
    for file, asked, meant in (
        ("google", "", "half"),
        ("torchvision", "", "imagenet"),
        ("google", "imagenet", "imagenet"),
    ):
        learned = statistics[meant]
        expected = logits(params, ((pixels - learned[0]) / learned[1]).astype(np.float32))
        assert np.abs(logits(params, images) - expected).max() > 0.05
        loaded, notes = load_vit(tmp_path / f"{file}.npz", params, mean=mean, std=std, statistics=asked)
        np.testing.assert_allclose(logits(loaded, images), expected, atol=1e-4)
        assert notes[-1].startswith(f"learned on images standardised by {meant} statistics")
        assert jax.tree.map(jnp.result_type, loaded) == jax.tree.map(jnp.result_type, params)
    back = restandardize(restandardize(params, learned=learned, given=(mean, std)), learned=(mean, std), given=learned)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), back, params)
    with pytest.raises(ValueError, match="statistics must be one of 'half', 'imagenet', 'own'; got 'hlaf'"):
        load_vit(tmp_path / "google.npz", params, mean=mean, std=std, statistics="hlaf")
    with pytest.raises(ValueError, match="Statistics 'half' are of 3 channels, images have 1"):
        load_vit(tmp_path / "google.npz", params, mean=mean[:1], std=std[:1])
