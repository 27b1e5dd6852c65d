"""Leave-one-out against deleting one point at a time; groups; bad input."""

import jax.numpy as jnp
import numpy as np
import pytest
from drift_brute import log_density as brute

from mollax.drift.kernels import Gaussian, Mollifier
from mollax.drift.leave_one_out import leave_one_out


def deleted(bank, left_out, sigma, scale=1.0):
    """log-density of each point under the bank without the points that `left_out` (n, n) marks."""
    pairs = zip(bank, left_out, strict=True)
    return [brute(point[None], [(1.0, sigma, scale * bank[~without])])[0] for point, without in pairs]


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0])
def test_deleting_one_at_a_time(rng, sigma):
    bank = rng.random((60, 4)).astype(np.float32)
    mine = leave_one_out(bank, Gaussian(sigma), query_rows=13, bank_rows=17)
    expected = deleted(bank, np.eye(60, dtype=bool), sigma)
    np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-5)


def test_another_kernel_and_rows(rng):
    bank = rng.random((30, 3)).astype(np.float32)
    expected = deleted(bank, np.eye(30, dtype=bool), np.sin(0.1 * np.pi), np.cos(0.1 * np.pi))
    rows = np.array([7, 0, 29])
    np.testing.assert_allclose(leave_one_out(bank, Mollifier(0.2), rows=rows), np.array(expected)[rows], atol=1e-5)
    np.testing.assert_allclose(leave_one_out(jnp.asarray(bank), Mollifier(0.2)), expected, atol=1e-5)


def test_a_group_is_left_out_whole(rng):
    bank, groups = rng.random((20, 2)).astype(np.float32), np.arange(20) // 3
    expected = deleted(bank, groups[:, None] == groups[None, :], 0.2)
    np.testing.assert_allclose(leave_one_out(bank, Gaussian(0.2), groups=7 * groups), expected, atol=1e-5)


def test_a_copy_explains_its_twin(rng):
    bank = rng.random((10, 50)).astype(np.float32)
    bank[1] = bank[0]
    logs = leave_one_out(bank, Gaussian(1e-3))
    at_its_center = -25 * np.log(2 * np.pi * 1e-6) - np.log(9)
    np.testing.assert_allclose(logs[:2], at_its_center, rtol=1e-5)
    assert float(logs[2:].max()) < -1e4


BANK = np.arange(12, dtype=np.float32).reshape(6, 2)


@pytest.mark.parametrize(
    "bank, options, message",
    [
        (BANK[:1], {}, "at least two points for leave-one-out; got 1"),
        (0 * BANK, {}, "All 6 points of bank are identical"),
        (BANK, {"groups": np.zeros(6, int)}, "groups must name at least two groups"),
        (BANK, {"groups": np.zeros(5, int)}, "same length, but groups has 5, bank has 6"),
        (BANK, {"rows": np.array([6])}, "rows must be a non-empty list of places in a bank of 6 points, 0 to 5"),
        (BANK, {"rows": np.array([], int)}, "rows must be a non-empty list"),
        (np.where(BANK == 5, np.nan, BANK), {}, "bank must hold finite numbers; row 2 does not"),
    ],
)
def test_bad_input(unhooked, bank, options, message):
    with pytest.raises(ValueError, match=message):
        leave_one_out(bank, Gaussian(0.1), **options)
