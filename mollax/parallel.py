"""Work spread over devices: the one pmap wrapper, and arrays that lie on every device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

AXIS = "batch"
PyTree = Any

# jaxlib's default gives CPU work to a library, YNN, that takes up to 2.5 times as long for the convolutions of the
# networks here. Sums and what is elementwise are several times as fast there as in XLA's own loops.
_GIVEN_TO_YNN = ("DOT", "INDIVIDUAL_DOT", "ELTWISE", "REDUCE")
CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": ",".join(f"LIBRARY_FUSION_TYPE_{kind}" for kind in _GIVEN_TO_YNN)
}

_SMALL = 2**16  # numbers; of more the copy takes longer than the meeting

# Where there are as many leaves as arguments, pmap (0.10, 0.11) takes in_axes leaf by leaf: of (key, {"image",
# "index"}, ()) it would leave "index" whole on every device. With one leaf more, three are one for each argument.
_EXTRA_LEAF = np.int32(0)


class Parallel:
    """A function on all devices, made by `parallelize`; compiled at its first call of each shape, or before."""

    def __init__(self, mapped: Any) -> None:
        self._mapped = mapped
        self._compiled: dict[Any, Callable] = {}

    def __call__(self, shared: PyTree, per_device: PyTree, data: PyTree) -> PyTree:
        program = self.compile(shared, per_device, data)
        # A compiled function takes arrays of the whole run, not of this process.
        return program(shared, _place(per_device, jax.sharding.PartitionSpec(AXIS)), (data, _EXTRA_LEAF))

    def compile(self, shared: PyTree, per_device: PyTree, data: PyTree) -> Callable:
        """The program for arguments of these shapes; values play no part. A thread may compile for a later call."""
        arguments = (shared, per_device, (data, _EXTRA_LEAF))
        leaves, structure = jax.tree.flatten(arguments)
        signature = (structure, *((leaf.shape, jnp.result_type(leaf)) for leaf in leaves))
        if signature not in self._compiled:
            self._compiled[signature] = compile_lowered(self._mapped.lower(*arguments))
        return self._compiled[signature]


def parallelize(function: Callable, *, donate: bool = False) -> Parallel:
    """Runs function(shared, per_device, shared data) on all devices: pmap over `AXIS` with unstacked results.

    The first and third arguments and the results are the same on every device; leaves of the second have a leading
    axis over this process's devices. On CPU the compiler takes `CPU_OPTIONS` where it knows them.
    """
    mapped = jax.pmap(
        lambda shared, per_device, data: function(shared, per_device, data[0]),
        axis_name=AXIS,
        in_axes=(None, 0, None),
        out_axes=None,
        donate_argnums=(0,) if donate else (),
    )
    return Parallel(mapped)


def compile_lowered(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles, on CPU with `CPU_OPTIONS` where this jaxlib accepts them."""
    if jax.default_backend() != "cpu":
        return lowered.compile()
    try:
        return lowered.compile(compiler_options={**CPU_OPTIONS})
    except (RuntimeError, ValueError) as error:
        logging.warning("This jaxlib does not know the options for fast CPU programs; this one is slower: %s", error)
        return lowered.compile()


def mean_over_devices(tree: PyTree, axis_name: str = AXIS) -> PyTree:
    """`jax.lax.pmean`, on CPU of all small leaves of a kind together: there devices meet once for every array, which
    takes up to a tenth of a millisecond. Accelerators put them together themselves.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.pmean(tree, axis_name)
    leaves, structure = jax.tree.flatten(tree)
    together: dict[Any, list[int]] = {}
    for number, leaf in enumerate(leaves):
        together.setdefault(jnp.result_type(leaf) if jnp.size(leaf) <= _SMALL else number, []).append(number)
    for numbers in together.values():
        parts = [jnp.ravel(leaves[number]) for number in numbers]
        mean = jax.lax.pmean(jnp.concatenate(parts) if len(parts) > 1 else parts[0], axis_name)
        ends = np.cumsum([part.size for part in parts])
        for number, part in zip(numbers, jnp.split(mean, ends[:-1]), strict=True):
            leaves[number] = part.reshape(jnp.shape(leaves[number]))
    return jax.tree.unflatten(structure, leaves)


def replicate(tree: PyTree) -> PyTree:
    """Puts arrays on every device of every process, once, so that no dispatch copies them again."""
    return _place(tree, jax.sharding.PartitionSpec())


def _place(tree: PyTree, spec: jax.sharding.PartitionSpec) -> PyTree:
    """Arrays of this process -> arrays of the run, the same everywhere or split along their first axis."""
    sharding = jax.sharding.NamedSharding(jax.sharding.Mesh(jax.devices(), (AXIS,)), spec)
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, jax.device_get(leaf)), tree)
