"""The audit of arrays: its parts are those functions, the kinds of drift by sign, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax.drift.audit import audit
from mollax.drift.classifier import classifier_test
from mollax.drift.density import log_density
from mollax.drift.detectable import detectable
from mollax.drift.entropy_aware import entropy_aware
from mollax.drift.excess import excess
from mollax.drift.kernels import Gaussian
from mollax.drift.kolmogorov_smirnov import kolmogorov_smirnov
from mollax.drift.mmd import mmd

KERNEL = Gaussian(0.4)
FEW = {"permutations": 99, "resamples": 50}
SIZES = (200, 60, 50)


@pytest.fixture(scope="module")
def sides() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bank, held and new of one distribution: two classes in five dimensions."""
    rng = np.random.default_rng(5)
    return tuple(
        (rng.normal(size=(size, 5)) + np.where(rng.random((size, 1)) < 0.5, 2, -2)).astype(np.float32) for size in SIZES
    )


def test_parts_are_the_functions(sides):
    bank, held, new = sides
    new = np.concatenate([new, bank[7:9]])
    found = audit(bank, held, new, KERNEL, seed=4, limit=40, power=0.9, **FEW)
    held_log, new_log = (np.asarray(log_density(side, bank, KERNEL)) for side in (held, new))
    np.testing.assert_array_equal(found.held_contributions, -held_log.astype(np.float64))
    np.testing.assert_array_equal(found.new_contributions, -new_log.astype(np.float64))
    assert found.excess == excess(held_log, new_log, seed=4, **FEW)
    companion = entropy_aware(held, new, KERNEL, seed=4, limit=40, **FEW)
    assert found.companion[:6] == companion[:6]
    assert found.detectable == detectable(held_log, 52, power=0.9)
    assert found.dimensions == 5
    np.testing.assert_array_equal(np.flatnonzero(found.copied), [50, 51])
    assert found.mmd == mmd(held, new, seed=4, limit=40, permutations=99)
    assert found.classifier == classifier_test(held, new, seed=4)
    assert found.kolmogorov_smirnov is not None
    assert found.kolmogorov_smirnov.p_value == kolmogorov_smirnov(held, new).p_value


def test_no_drift(sides):
    found = audit(*sides, KERNEL, baselines=False, permutations=99, resamples=500)
    assert found.excess.p_value > 0.05
    assert found.companion.p_value > 0.05
    assert found.excess.low < 0 < found.excess.high
    assert found.companion.low < 0 < found.companion.high
    assert found.mmd is found.kolmogorov_smirnov is found.classifier is None
    assert not found.copied.any()


@pytest.mark.parametrize(
    "kind, excess_sign, gap_sign", [("noise", 1, None), ("one class", None, 1), ("blank", -1, 1), ("shift", 1, 1)]
)
def test_every_drift_alarms_by_its_sign(sides, kind, excess_sign, gap_sign):
    bank, held, new = sides
    rng = np.random.default_rng(0)
    drifted = {
        "noise": new + 2 * rng.normal(size=new.shape),
        "one class": rng.normal(size=new.shape) + 2,
        "blank": np.full(new.shape, -2) + 1e-3 * rng.normal(size=new.shape),
        "shift": new + 2,
    }[kind].astype(np.float32)
    found = audit(bank, jnp.asarray(held), jnp.asarray(drifted), KERNEL, baselines=False, **FEW)
    for part, sign in ((found.excess, excess_sign), (found.companion, gap_sign)):
        if sign is not None:
            assert part.p_value == 0.01
            assert np.sign(part.low) == np.sign(part.high) == sign


def test_groups_reach_both_tests(sides):
    bank, held, new = sides
    groups = {"groups_held": np.arange(60) // 3, "groups_new": np.arange(50) // 2}
    found = audit(bank, held, new, KERNEL, baselines=False, **groups, **FEW)
    assert (found.excess.held_units, found.excess.new_units) == (20, 25)
    plain = entropy_aware(held, new, KERNEL, **FEW)
    assert found.companion.value != plain.value
    assert found.detectable == detectable(-found.held_contributions, 50, groups=groups["groups_held"])


@pytest.mark.parametrize("count", [2, 4])
def test_devices_change_nothing(sides, count):
    one, several = (
        audit(*sides, KERNEL, baselines=False, devices=devices, **FEW) for devices in (None, jax.devices()[:count])
    )
    np.testing.assert_allclose(several.held_contributions, one.held_contributions, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(several.new_contributions, one.new_contributions, rtol=1e-6, atol=1e-5)
    assert several.excess.p_value == one.excess.p_value


@pytest.mark.usefixtures("unhooked")
def test_no_device_is_refused(sides):
    with pytest.raises(ValueError, match="devices must name at least one device"):
        audit(*sides, KERNEL, baselines=False, devices=[], **FEW)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda b, h, n: (b[:0], h, n), ValueError, "bank must hold at least one point"),
        (lambda b, h, n: (b, h[:, :3], n), ValueError, "held has points of 3 values, the other points have 5"),
        (lambda b, h, n: (b, h, n[:, None]), ValueError, "new must have 2 axes"),
        (lambda b, h, n: (b, h, n / 0), ValueError, "new must hold finite numbers"),
        (lambda b, h, n: (b, h, n.astype(np.uint8)), TypeError, "new must hold floating-point numbers; got uint8"),
        (lambda b, h, n: (b, np.concatenate([b[5:8], h]), n), ValueError, "3 of 63 held-out points are also"),
        (lambda b, h, n: (0 * b, h, n), ValueError, "All 200 points of bank are equal"),
        (lambda b, h, n: (b, 0 * h, n), ValueError, "All 60 points of held are equal"),
        (lambda b, h, n: (b, h[:2], n[:2]), ValueError, "2 held and 2 new points are too few"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_bad_input_is_refused(sides, change, error, message):
    with pytest.raises(error, match=message):
        audit(*change(*sides), KERNEL, **FEW)
