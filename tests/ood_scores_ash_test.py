"""ASH: the three variants against NumPy, by hand, with ties and with negative features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from ood_parity import cast, check_module, energy, examples

from mollax.ood.head import Head
from mollax.ood.scores import ash


def shaped(features, variant, percentile):
    """The algorithms row by row."""
    rows = []
    for row in features:
        keep = len(row) - round(len(row) * percentile / 100)
        places = np.argsort(-row, kind="stable")[:keep]
        new = np.zeros_like(row)
        if variant == "b":
            new[places] = row.sum() / keep
        else:
            new[places] = row[places]
            if variant == "s":
                new *= np.exp(row.sum() / new.sum())
        rows.append(new)
    return np.stack(rows)


@pytest.mark.parametrize("variant", ash.VARIANTS)
@pytest.mark.parametrize("percentile", [90.0, 65.0])
def test_parity(variant, percentile, rng):
    train = examples(rng)
    test = examples(rng, count=40)._replace(head=train.head)

    def reference(variant=variant, percentile=percentile):
        return energy(shaped(test.features, variant, percentile), train.head)

    wrong = {
        "sign": -reference(),
        "percentile": reference(percentile=percentile - 10),
        "one feature more": reference(percentile=percentile - 100 / 24),
        "the other end": reference(percentile=100 - percentile),
        "no shaping": energy(test.features, train.head),
        **{name: reference(variant=name) for name in ash.VARIANTS if name != variant},
    }
    check_module(ash, train, test, reference(), wrong, variant=variant, percentile=percentile)


def state(rng, width=4, **options):
    data = examples(rng, count=5, width=width, classes=2)
    return ash.fit(*cast(data, np.float32), **options)


@pytest.mark.parametrize(
    "variant, expected",
    [
        ("s", [0, 4 * np.exp(10 / 7), 0, 3 * np.exp(10 / 7)]),
        ("b", [0, 5, 0, 5]),
        ("p", [0, 4, 0, 3]),
    ],
)
def test_by_hand(variant, expected, rng):
    """4 features, 50 %: the top 2 of 1, 4, 2, 3 stay; their sum is 7 of 10."""
    values = ash.shape(state(rng, variant=variant, percentile=50.0), jnp.float32([[1, 4, 2, 3]]))
    np.testing.assert_allclose(values, [expected], rtol=1e-6)


def test_score_by_hand():
    head = Head(jnp.eye(2, dtype=jnp.float32), jnp.float32([0, 1]))
    features = jnp.float32([[3, 1]])
    fitted = ash.fit(features, features, jnp.int32([0]), head, variant="p", percentile=50.0)
    np.testing.assert_allclose(ash.score(fitted, features, features), [-np.log(np.exp(3) + np.exp(1))], rtol=1e-6)


@pytest.mark.parametrize("width, percentile, keep", [(512, 90.0, 51), (5, 50.0, 3), (24, 90.0, 2), (7, 0.0, 7)])
def test_number_kept(width, percentile, keep, rng):
    """d - round(d p / 100) with halves to even, as NumPy rounds: 2.5 of 5 features are 2."""
    assert width - int(np.round(width * percentile / 100)) == keep
    assert int(state(rng, width=width, percentile=percentile).keep) == keep


def test_exactly_so_many_are_kept_and_the_first_of_equals(rng):
    values = rng.integers(0, 3, (50, 16)).astype(np.float32)
    for keep in (1, 5, 16):
        mask = np.asarray(fast(ash.top)(jnp.asarray(values), jnp.int32(keep)))
        expected = np.zeros_like(mask)
        np.put_along_axis(expected, np.argsort(-values, axis=1, kind="stable")[:, :keep], True, axis=1)
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("variant", ash.VARIANTS)
def test_features_of_zeros_stay_zero(variant, rng):
    values = ash.shape(state(rng, variant=variant, percentile=50.0), jnp.zeros((3, 4), jnp.float32))
    np.testing.assert_array_equal(values, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_energies_beyond_floats_keep_their_order(sign):
    """512 nearly equal features, of which 5 stay, are scaled by up to e^102: more than float32 holds."""
    larger = np.linspace(0, 3, 60) ** 2
    features = np.ones((60, 512))
    features[:, :5] += larger[:, None]
    kernel = np.where(np.arange(2), 0.5, 1.0) * np.full((512, 2), sign)
    logits, labels = jnp.zeros((60, 2)), jnp.zeros(60, jnp.int32)
    fitted = ash.fit(jnp.float32(features), logits, labels, Head(kernel, np.float32([1, -1])), percentile=99.0)
    ours = np.asarray(fast(ash.score)(fitted, jnp.float32(features), logits), np.float64)
    assert (np.diff(ours) * sign > 0).all()
    kept = 5 * (1 + larger)
    sizes = (507 + kept) / kept + np.log(kept * (1.0 if sign == 1 else 0.5))
    limit = 0.9 * np.log(float(np.finfo(np.float32).max))
    beyond = np.exp(limit) * (1 + sizes - limit)
    np.testing.assert_allclose(ours, -sign * np.where(sizes > limit, beyond, np.exp(sizes)), rtol=1e-4)
    assert 10 < (sizes > limit).sum() < 50
    assert not np.isnan(ash.shape(fitted, jnp.float32(features))).any()


def test_negative_features_as_told(rng):
    data = cast(examples(rng, count=5, width=4, classes=2), np.float32)
    data = data._replace(features=data.features - 1)
    with pytest.raises(ValueError, match=r"features that are not negative; the lowest is -1.*negative='clip'"):
        ash.fit(*data, percentile=25.0)
    row = jnp.float32([[-4, 2, -1, 1]])
    clipped = ash.shape(ash.fit(*data, variant="b", percentile=25.0, negative="clip"), row)
    kept = ash.shape(ash.fit(*data, variant="b", percentile=25.0, negative="keep"), row)
    np.testing.assert_allclose(clipped, [[1, 1, 0, 1]])  # 3 / 3, at the first of two zeros
    np.testing.assert_allclose(kept, [[0, -2 / 3, -2 / 3, -2 / 3]], rtol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "x"}, "variant must be one of"),
        ({"negative": "drop"}, "negative must be one of"),
        ({"percentile": 100.0}, "percentile must be in"),
        ({"percentile": 99.0}, "leaves none of 4 features"),
    ],
)
def test_bad_options(options, message, rng):
    with pytest.raises(ValueError, match=message):
        state(rng, **options)


def test_bad_arrays(rng, unhooked):
    data = cast(examples(rng, count=5, width=4, classes=2), np.float32)
    with pytest.raises(ValueError, match="ASH sends changed features through the last layer"):
        ash.fit(*data._replace(head=None))
    with pytest.raises(ValueError, match="features has 4, logits has 5"):
        ash.fit(*data._replace(features=data.features[:4]))
    with pytest.raises(ValueError, match="features of 1 examples are not finite"):
        ash.fit(*data._replace(features=data.features.at[2, 1].set(jnp.nan)))


def test_the_variant_is_data_to_jit(rng):
    """One compilation serves all variants and percentiles: they are arrays of the state."""
    data = cast(examples(rng, count=5, width=8, classes=2), np.float32)
    run = jax.jit(ash.score)
    for variant in ash.VARIANTS:
        for percentile in (50.0, 75.0):
            run(ash.fit(*data, variant=variant, percentile=percentile), *data[:2])
    assert run._cache_size() == 1
