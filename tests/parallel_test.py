"""The one wrapper: shared arguments, a leading axis over devices, results in one piece."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import parallel


def total(shared, part, data):
    return shared + jax.lax.psum(jnp.sum(part["x"]) * data, parallel.AXIS)


def test_results_are_unstacked_and_programs_are_reused_by_shape():
    call = parallel.parallelize(total)
    devices = jax.device_count()
    for width in (3, 5, 3):
        x = np.arange(devices * width, dtype=np.float32).reshape(devices, width)
        result = call(np.float32(10), {"x": x}, np.float32(2))
        assert result.shape == ()
        assert float(result) == 10 + 2 * x.sum()


def test_a_program_may_be_compiled_before_it_is_called(monkeypatch):
    call = parallel.parallelize(total)
    x = np.ones((jax.device_count(), 2), np.float32)
    call.compile(np.float32(0), {"x": np.zeros_like(x)}, np.float32(0))
    monkeypatch.setattr(parallel, "compile_lowered", lambda *_: pytest.fail("compiled again"))
    assert float(call(np.float32(1), {"x": x}, np.float32(3))) == 1 + 3 * x.size


@pytest.mark.parametrize("data", [(), np.float32(2)])
@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_every_leaf_is_split_however_many_there_are(names, data):
    def check(shared, part, data):
        assert {leaf.shape for leaf in part.values()} == {(3,)}
        return shared + jax.lax.psum(sum(jnp.sum(leaf) for leaf in part.values()), parallel.AXIS)

    parts = {name: np.ones((jax.device_count(), 3), np.float32) for name in names}
    assert float(parallel.parallelize(check)(np.float32(1), parts, data)) == 1 + 3 * jax.device_count() * len(names)


def test_replicated_arrays_lie_on_every_device():
    tree = parallel.replicate({"x": np.ones(3, np.float32)})
    assert len(tree["x"].devices()) == jax.device_count()
    assert tree["x"].is_fully_replicated


def test_a_compiler_that_does_not_know_the_option_is_no_failure(monkeypatch, caplog):
    monkeypatch.setattr(parallel, "CPU_OPTIONS", {"xla_no_such_option": "1"})
    with caplog.at_level(logging.WARNING):
        result = parallel.parallelize(total)(np.float32(0), {"x": np.ones((4, 1), np.float32)}, np.float32(1))
    assert float(result) == 4
    assert "does not know the options for fast CPU programs" in caplog.text


def test_this_compiler_knows_the_option(caplog):
    with caplog.at_level(logging.WARNING):
        parallel.parallelize(total)(np.float32(0), {"x": np.ones((4, 2), np.float32)}, np.float32(1))
    assert caplog.text == ""


def test_means_over_devices_are_those_of_pmean():
    rng, devices = np.random.default_rng(0), jax.device_count()
    tree = {
        "small": [rng.normal(size=(devices, 3, 2)).astype(np.float32), rng.normal(size=devices).astype(np.float32)],
        "large": rng.normal(size=(devices, 70_000)).astype(np.float32),
        "half": jnp.asarray(rng.normal(size=(devices, 4)), jnp.bfloat16),
        "none": np.zeros((devices, 0), np.float32),
    }
    found = jax.pmap(parallel.mean_over_devices, parallel.AXIS)(tree)
    expected = jax.pmap(lambda part: jax.lax.pmean(part, parallel.AXIS), parallel.AXIS)(tree)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), expected
    )
    np.testing.assert_allclose(found["large"][0], tree["large"].mean(0), atol=1e-6)
