"""Networks by name: the table, its options, its errors."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import pytest

from mollax.models import MODELS, PreActResNet, count_parameters, create_model, model_options


def test_names():
    resnets = {f"preact_resnet{depth}" for depth in (18, 34, 50, 101)} | {"resnet8", "resnext29"}
    resnets |= {f"resnet{depth}{stem}" for depth in (18, 34, 50) for stem in ("", "_imagenet")}
    wide = {"wrn28_10", "wrn40_2", "wrn40_10"}
    others = {"densenet40", "densenet121", "googlenet", "allconv10", "cnn", "mlp", "conv13"}
    vits = {"vit_b16", "vit_s16", "vit_ti16", "vit"}
    assert set(MODELS) == resnets | wide | others | vits


@pytest.mark.parametrize(
    "name, options",
    [
        ("preact_resnet50", ("planes", "final_norm")),
        ("resnet8", ("planes", "shortcut", "patch")),
        ("resnet50_imagenet", ("planes",)),
        ("resnext29", ("cardinality", "base_width", "planes")),
        ("wrn40_2", ("dropout",)),
        ("densenet40", ("growth", "stem")),
        ("googlenet", ("stem",)),
        ("allconv10", ("widths", "dropout")),
        ("cnn", ("widths", "batch_norm")),
        ("mlp", ("hidden", "dropout")),
        ("conv13", ("width", "dropout")),
        ("vit_b16", ("dropout", "pooling")),
        ("vit", ("patch", "width", "depth", "heads", "mlp", "dropout", "pooling")),
    ],
)
def test_options(name, options):
    assert model_options(name) == options


def test_the_name_fixes_block_and_stages():
    model = create_model("preact_resnet34", classes=7, axis_name="batch", planes=8)
    assert isinstance(model, PreActResNet)
    assert (model.block, model.stages, model.planes) == ("basic", (3, 4, 6, 3), 8)
    assert (model.classes, model.dtype, model.axis_name) == (7, jnp.dtype("float32"), "batch")


@pytest.mark.parametrize("dtype", ["bfloat16", jnp.bfloat16, jnp.dtype("bfloat16")])
def test_dtype_in_any_form(dtype):
    assert create_model("cnn", classes=2, dtype=dtype).dtype == jnp.dtype("bfloat16")


def test_a_list_stands_for_a_tuple():
    assert create_model("mlp", classes=2, hidden=[8, 4]) == create_model("mlp", classes=2, hidden=(8, 4))
    hash(create_model("mlp", classes=2, hidden=[8, 4]))


def test_unknown_names_options_and_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"model must be one of 'preact_resnet18', .*Did you mean 'resnet8'\?"):
        create_model("resnet7", classes=10)
    expected = r"option of model 'mlp' must be one of 'hidden', 'dropout'; got 'droput'. Did you mean 'dropout'\?"
    with pytest.raises(ValueError, match=expected):
        create_model("mlp", classes=10, droput=0.1)
    with pytest.raises(ValueError, match="option of model 'preact_resnet18' must be one of 'planes', 'final_norm'"):
        create_model("preact_resnet18", classes=10, stages=(1, 1))
    for dtype in ("float64", jnp.float16, "flaot32"):
        with pytest.raises(ValueError, match="dtype must be one of 'float32', 'bfloat16'; got"):
            create_model("mlp", classes=10, dtype=dtype)


def test_count_parameters():
    tree = {"a": jnp.zeros((2, 3)), "b": {"c": jnp.zeros(()), "d": jax.ShapeDtypeStruct((4, 5), jnp.float32)}}
    assert count_parameters(tree) == 27
    assert count_parameters({}) == 0


def test_table_entries_make_modules_directly():
    for name, make in MODELS.items():
        cls = make.func if isinstance(make, functools.partial) else make
        assert isinstance(make(classes=3), cls), name


@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_images(name):
    """No shape depends on how many there are, so that `jax.export` can leave the number open."""
    side = 32
    small = {"patch": 8, "width": 32, "depth": 1, "heads": 2, "mlp": 32} if name == "vit" else {}
    network = create_model(name, classes=10, **small)
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    variables = jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), image)
    any_number = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f"b, {side}, {side}, 3"), jnp.float32)
    logits = jax.eval_shape(functools.partial(network.apply, train=False), variables, any_number)
    assert str(logits.shape) == "(b, 10)"
