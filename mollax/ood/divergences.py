"""Other divergences between the joint of input and label and the product of its marginals (METHODS section 3).

P, Q, m and beta are those of `mollax.ood.total_variation`. For a divergence D_f, D_f(P, Q) >= E_P[T] - E_Q[f*(T)] with
equality at T = f'(dP/dQ). T = g(v) maps free outputs v into the domain of the conjugate f*; g and f*(g(.)) are written
in v, so that nothing is exponentiated and taken the logarithm of:

| name           | g(v)             | f*(g(v))            | best v, r = dP/dQ | divergence                   |
|----------------|------------------|---------------------|-------------------|------------------------------|
| tv             | tanh(v) / 2      | tanh(v) / 2         | +-inf, as r >< 1  | total variation              |
| dv             | v                | log E_Q[e^v]        | log r (+ any c)   | KL(P, Q), Donsker-Varadhan   |
| nwj            | v                | e^(v-1)             | 1 + log r         | KL(P, Q), Nguyen et al.      |
| reverse_kl     | -e^(-v)          | v - 1               | log r             | KL(Q, P)                     |
| pearson        | v                | v^2/4 + v           | 2 (r - 1)         | chi^2 = E_Q[(r - 1)^2]       |
| hellinger      | 1 - e^(-v)       | e^v - 1             | log(r) / 2        | E_Q[(sqrt r - 1)^2]          |
| jensen_shannon | log2-softplus(-v)| softplus(v) - log 2 | log r             | 2 JSD                        |
| gan            | -softplus(-v)    | softplus(v)         | log r             | 2 JSD - log 4                |
| bc             | -softplus(-v)/2  | softplus(v)/2       | log r             | JSD - log 2                  |

"bc" is minus the binary cross-entropy of telling P from Q, both equally likely, with logit v: half of "gan", and so the
same method but for the step size. The paper's binary classifier is described as one of "IN/OOD classification":
"bc_id_ood" is minus the cross-entropy of ID (weight m) and OOD (1 - m), with the extra output as the logit of OOD. Its
other outputs are not trained: score it by variant "extra" of `mollax.ood.scores.tv`.

Each g increases in v, so v ranks as T does. All values are in nats where there is a logarithm. The exponentials are not
held: "dv" excepted, v above about 88 on the product ("nwj", "hellinger"), or below -88 on the joint ("hellinger"), is
infinite in float32; "reverse_kl" has its clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Float64, Integer

from mollax import checks
from mollax.ood.total_variation import Host, bounded_critic, joint_and_product, label_probabilities, product_samples

NAMES = ("tv", "dv", "nwj", "reverse_kl", "pearson", "hellinger", "jensen_shannon", "gan", "bc", "bc_id_ood")
_LOG2 = float(np.log(2))
# Ratios dP/dQ on the support of P are about 1 / P(Y), so 2 K: far from e^10.
REVERSE_KL_CLIP = 10.0

Function = Callable[[Array], Array]

# g and f*(g(.)); "dv" is not linear in Q and "reverse_kl" clips first.
_FORMS: Mapping[str, tuple[Function, Function]] = {
    "tv": (bounded_critic, bounded_critic),
    "nwj": (lambda v: v, lambda v: jnp.exp(v - 1)),
    "reverse_kl": (lambda v: -jnp.exp(-v), lambda v: v - 1),
    "pearson": (lambda v: v, lambda v: v**2 / 4 + v),
    "hellinger": (lambda v: -jnp.expm1(-v), jnp.expm1),
    "jensen_shannon": (lambda v: _LOG2 - jax.nn.softplus(-v), lambda v: jax.nn.softplus(v) - _LOG2),
    "gan": (lambda v: -jax.nn.softplus(-v), jax.nn.softplus),
    "bc": (lambda v: -jax.nn.softplus(-v) / 2, lambda v: jax.nn.softplus(v) / 2),
}


def divergence_estimate(
    name: str,
    on_p: Float[Array, " p"],
    weights_p: Float[Array, " p"],
    on_q: Float[Array, " q"],
    weights_q: Float[Array, " q"],
    *,
    average: Float[Array, ""] | None = None,
    clip: float | None = REVERSE_KL_CLIP,
) -> Float[Array, ""]:
    """E_P[g(v)] - E_Q[f*(g(v))], a lower bound of the divergence, from free outputs v on two weighted samples.

    Args:
      name: one of `NAMES` but "bc_id_ood", which is not about P and Q.
      on_p: v at samples of P.
      weights_p: their weights, which sum to 1. Values of weight 0 may be anything.
      on_q: v at samples of Q.
      weights_q: theirs.
      average: "dv" alone: the logarithm of a running mean of E_Q[e^v], from `update_average`.
      clip: "reverse_kl" alone: v is raised to -clip, see `divergence_objective`.

    Raises:
      TypeError: for a clip that is not a number.
      ValueError: for an unknown name, values and weights of different lengths, an average that the divergence does not
        take, or a clip that is not positive.
    """
    checks.one_of("name", name, NAMES[:-1])
    checks.same_length(("on_p", "weights_p"), (on_p, weights_p))
    checks.same_length(("on_q", "weights_q"), (on_q, weights_q))
    _check_options(name, average, clip)
    if name == "dv":
        return _mean(lambda v: v, on_p, weights_p) - _log_mean_exp(on_q, weights_q, average)
    if name == "reverse_kl" and clip is not None:
        on_p, on_q = jnp.maximum(on_p, -clip), jnp.maximum(on_q, -clip)
    g, conjugate = _FORMS[name]
    return _mean(g, on_p, weights_p) - _mean(conjugate, on_q, weights_q)


def divergence_objective(
    name: str,
    free_id: Float[Array, "n c"],
    labels: Integer[Array, " n"] | Float[Array, "n k"],
    free_ood: Float[Array, "l c"],
    class_freq: Float[Host, " k"],
    id_share: float,
    *,
    average: Float[Array, ""] | None = None,
    clip: float | None = REVERSE_KL_CLIP,
) -> Float[Array, ""]:
    """E_P[g(v)] - E_Q[f*(g(v))] of joint and product, to be maximised; "tv" is `tv_objective` of `bounded_critic`.

    With class_freq and id_share fixed, the mean over equal minibatches is the value on all of them and gradients are
    unbiased, but for "dv": the logarithm of a minibatch's mean is biased upwards in the estimate. MINE's correction
    divides the gradient of E_Q[e^v] by a running mean instead of the batch's; the value stays the plain estimate.

    Args:
      name: one of `NAMES`; see the table of this module.
      free_id: free outputs v of the critic on ID images, before g; the last column is the extra label's.
      labels: classes 0 .. K-1, or soft labels whose rows sum to 1: those average g(v).
      free_ood: v on OOD images. The two batches may differ in size.
      class_freq: beta, shares of the classes in the training set (not in the batch).
      id_share: m, the weight of ID data.
      average: "dv" alone: the logarithm of a running mean of E_Q[e^v], from `update_average`. None: the batch's own
        mean, which is the biased plain gradient.
      clip: "reverse_kl" alone. Where labels are a function of x, Q has mass where P has none and KL(Q, P) is infinite:
        v is raised to -clip, which bounds the objective by clip + 1 (`divergence_maximum`). Outputs below -clip get no
        gradient. None: unclipped, unbounded.

    Raises:
      TypeError: for an `id_share` or clip that is not a number.
      ValueError: for an unknown name, what `tv_objective` raises for, an average that the divergence does not take, or
        a clip that is not positive.
    """
    checks.one_of("name", name, NAMES)
    _check_options(name, average, clip)
    samples = joint_and_product(free_id, labels, free_ood, class_freq, id_share)
    if name == "bc_id_ood":
        on_id, on_ood = -jax.nn.softplus(free_id[:, -1]), -jax.nn.softplus(-free_ood[:, -1])
        return id_share * jnp.mean(on_id) + (1 - id_share) * jnp.mean(on_ood)
    return divergence_estimate(name, *samples, average=average, clip=clip)


def update_average(
    average: Float[Array, ""],
    free_id: Float[Array, "n c"],
    free_ood: Float[Array, "l c"],
    class_freq: Float[Host, " k"],
    id_share: float,
    *,
    decay: float = 0.99,
) -> Float[Array, ""]:
    """The next logarithm of the running mean of E_Q[e^v]: log(decay e^average + (1 - decay) E_Q[e^v]), no gradient.

    Start at 0: a critic that starts at v = 0 has E_Q[e^v] = 1. As in MINE's code the mean takes in a batch before it
    divides that batch's gradient, so update first and give the result to `divergence_objective`; keep it in the
    state's `extra`. The logarithm, as e^v itself overflows.

    Raises:
      TypeError: for a number that is none.
      ValueError: for a decay outside of [0, 1), or what `tv_objective` raises for.
    """
    checks.in_range("decay", decay, 0.0, 1.0, open_high=True)
    batch = _log_mean_exp(*product_samples(free_id, free_ood, class_freq, id_share), None)
    if decay == 0.0:
        return jax.lax.stop_gradient(batch)
    old = average.astype(batch.dtype) + float(np.log(decay))
    return jax.lax.stop_gradient(jnp.logaddexp(old, batch + float(np.log1p(-decay))))


def divergence_maximum(
    name: str,
    class_freq: Float[Host, " k"],
    id_share: float,
    *,
    seen_freq: Float[Host, " k"] | None = None,
    clip: float | None = None,
) -> float:
    """The largest objective where labels are a function of x: dP/dQ is 1/P(y) at an image's own label, else 0.

    P = P(Y) over the K + 1 labels is that of training, w that of the images that the objective is a mean over: m times
    their class shares, and 1 - m. The best critic is the same for all w; only what it reaches depends on them. On the
    host in float64: tv 1 - sum w P; dv and nwj - sum w log P, the entropy H(Y) for w = P; pearson sum w / P - 1, K for
    w = P and K classes that occur; hellinger 2 - 2 sum w P^.5; jensen_shannon, twice the Jensen-Shannon divergence,
    sum w log(2 / (1 + P)) + w P log(2 P / (1 + P)) + (1 - sum w P) log 2; gan that - log 4; bc half of gan; bc_id_ood
    0. Where classes are seen that training did not have, dv, nwj and pearson are infinite.

    Args:
      name: one of `NAMES`.
      class_freq: beta.
      id_share: m.
      seen_freq: class shares of the ID images in the objective; None for beta, those of the training set.
      clip: "reverse_kl" alone, which is infinite without: (clip + 1) (1 - sum w P) + sum w P log P.

    Raises:
      TypeError: for a number that is none.
      ValueError: for an unknown name, shares out of range or of another number of classes, or reverse KL without a
        clip: it has no maximum.
    """
    checks.one_of("name", name, NAMES)
    seen_freq = class_freq if seen_freq is None else seen_freq
    checks.same_length(("class_freq", "seen_freq"), (class_freq, seen_freq))
    p, w = _host_probabilities(class_freq, id_share), _host_probabilities(seen_freq, id_share)
    same = np.sum(w * p)
    other = 1 - same
    twice_jsd = (
        np.sum(scipy.special.xlogy(w, 2 / (1 + p)) + scipy.special.xlogy(w * p, 2 * p / (1 + p))) + other * _LOG2
    )
    if name == "reverse_kl":
        _check_options(name, None, clip)
        if clip is None:
            raise ValueError(
                "reverse_kl is unbounded for labels that are a function of x: the product has mass where the joint has "
                f"none. Give the clip of the objective, {REVERSE_KL_CLIP:g} by default, for its maximum under it."
            )
        return float((clip + 1) * other + np.sum(scipy.special.xlogy(w * p, p)))
    cross_entropy = -np.sum(scipy.special.xlogy(w, p))
    occurs = w > 0
    with np.errstate(divide="ignore"):
        ratio = np.sum(w[occurs] / p[occurs])
    return float(
        {
            "tv": 1 - same,
            "dv": cross_entropy,
            "nwj": cross_entropy,
            "pearson": ratio - 1,
            "hellinger": 2 - 2 * np.sum(w * np.sqrt(p)),
            "jensen_shannon": twice_jsd,
            "gan": twice_jsd - 2 * _LOG2,
            "bc": twice_jsd / 2 - _LOG2,
            "bc_id_ood": 0.0,
        }[name]
    )


def _host_probabilities(class_freq: Float[Host, " k"], id_share: float) -> Float64[np.ndarray, " k+1"]:
    """P(Y) as `label_probabilities` has it, checked, in float64."""
    label_probabilities(class_freq, id_share)  # for its checks
    return np.append(id_share * np.asarray(class_freq).astype(np.float64), 1 - id_share)


def _check_options(name: str, average: Float[Array, ""] | None, clip: float | None) -> None:
    """Raises for options that a divergence does not have or that make no sense."""
    if average is not None and name != "dv":
        raise ValueError(f'average corrects the bias of "dv"; {name!r} has none. Leave it None.')
    if clip is not None:
        checks.in_range("clip", clip, 0.0, open_low=True)


def _mean(function: Function, values: Float[Array, " n"], weights: Float[Array, " n"]) -> Float[Array, ""]:
    """Weighted mean of a function; what has no weight is not looked at (0 times infinity is not 0)."""
    return jnp.sum(weights * function(jnp.where(weights > 0, values, 0.0)))


def _log_mean_exp(
    values: Float[Array, " n"], weights: Float[Array, " n"], average: Float[Array, ""] | None
) -> Float[Array, ""]:
    """log E[e^v]; with an average, its gradient is that of E[e^v] / e^average."""
    plain = jax.nn.logsumexp(jnp.where(weights > 0, values, 0.0), b=weights)
    if average is None:
        return plain
    fixed = jax.lax.stop_gradient(plain)
    scale = jnp.exp(fixed - jax.lax.stop_gradient(average).astype(plain.dtype))
    return fixed + scale * (plain - fixed)
