"""Detection metrics against scikit-learn on a million tied scores, brute force over pairs, and cases worked by hand."""

import time
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from mollax import metrics

FEW = st.lists(st.integers(-3, 3), min_size=1, max_size=9).map(lambda values: np.array(values, float))
# ID accepts 4 of 5 at 3 (one OOD with it), all at 9 (all OOD but the 10).
HAND_ID, HAND_OOD = np.array([1.0, 2, 2, 3, 9]), np.array([2.0, 5, 7, 10])


def labeled(id_scores: np.ndarray, ood_scores: np.ndarray, positive: str) -> tuple[np.ndarray, np.ndarray]:
    """(labels, scores) as scikit-learn wants them: the positive class has the higher scores."""
    sign = 1 if positive == "ood" else -1
    is_ood = np.repeat([False, True], [len(id_scores), len(ood_scores)])
    return is_ood == (positive == "ood"), sign * np.concatenate([id_scores, ood_scores]).astype(float)


def sklearn_fpr(labels: np.ndarray, scores: np.ndarray, tpr: float) -> float:
    """FPR at the first threshold of the full curve that reaches a TPR."""
    falses, trues, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(falses[(trues >= tpr).argmax()])


def reference(id_scores: np.ndarray, ood_scores: np.ndarray, positive: str) -> dict[str, float]:
    """Everything by definition, threshold by threshold."""
    labels, scores = labeled(id_scores, ood_scores, positive)
    thresholds = np.unique(scores)[::-1]
    tpr = np.array([(scores[labels] >= t).mean() for t in thresholds])
    fpr = np.array([(scores[~labels] >= t).mean() for t in thresholds])
    precision = np.array([labels[scores >= t].mean() for t in thresholds])
    adjusted = 0.2 * tpr / (0.2 * tpr + 0.8 * fpr)
    steps = np.diff(tpr, prepend=0)
    pairs = ood_scores[:, None].astype(float) - id_scores
    return {
        "auroc": (pairs > 0).mean() + (pairs == 0).mean() / 2,
        "fpr": fpr[(tpr >= 0.6).argmax()],
        "aupr": steps @ precision,
        "adjusted": steps @ adjusted,
    }


@pytest.mark.parametrize("kind", ["rounded float32", "float64"])
def test_a_million_scores_agree_with_scikit_learn(rng: np.random.Generator, kind: str) -> None:
    id_scores, ood_scores = rng.normal(size=700_000), 1.5 + rng.normal(size=300_000)
    if kind == "rounded float32":  # about 9,000 distinct values
        id_scores, ood_scores = id_scores.round(3).astype(np.float32), ood_scores.round(3).astype(np.float32)
    else:  # pairs of equal scores across the sets
        ood_scores[:200_000] = id_scores[:200_000]
    summary = metrics.detection_summary(id_scores, ood_scores)
    labels, scores = labeled(id_scores, ood_scores, "ood")
    assert summary["auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-11)
    assert summary["aupr_ood"] == pytest.approx(average_precision_score(labels, scores), abs=1e-11)
    assert summary["fpr_at_tpr_ood"] == sklearn_fpr(labels, scores, 0.95)
    if kind == "rounded float32":
        labels, scores = labeled(id_scores, ood_scores, "id")
        assert summary["aupr_id"] == pytest.approx(average_precision_score(labels, scores), abs=1e-11)
        assert summary["fpr_at_tpr_id"] == sklearn_fpr(labels, scores, 0.95)


@settings(max_examples=60, deadline=None)
@given(FEW, FEW, st.sampled_from(["id", "ood"]), st.booleans())
def test_brute_force(id_scores: np.ndarray, ood_scores: np.ndarray, positive: str, fine: bool) -> None:
    if fine:  # few ties
        id_scores, ood_scores = id_scores + np.arange(len(id_scores)) / 8, ood_scores + np.arange(len(ood_scores)) / 16
    wanted = reference(id_scores, ood_scores, positive)
    found = {
        "auroc": metrics.auroc(id_scores, ood_scores, positive=positive),
        "fpr": metrics.fpr_at_tpr(id_scores, ood_scores, tpr=0.6, positive=positive),
        "aupr": metrics.aupr(id_scores, ood_scores, positive=positive),
        "adjusted": metrics.prevalence_adjusted_aupr(id_scores, ood_scores, prevalence=0.2, positive=positive),
    }
    assert found == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(FEW, FEW, st.sampled_from(["id", "ood"]))
def test_single_functions_are_entries_of_the_summary(
    id_scores: np.ndarray, ood_scores: np.ndarray, positive: str
) -> None:
    summary = metrics.detection_summary(id_scores, ood_scores, tpr=0.7, prevalence=0.1)
    options: dict[str, Any] = {"positive": positive}
    assert summary["id_count"] == len(id_scores)
    assert summary["ood_count"] == len(ood_scores)
    assert summary["auroc"] == metrics.auroc(id_scores, ood_scores, **options)
    assert summary[f"fpr_at_tpr_{positive}"] == metrics.fpr_at_tpr(id_scores, ood_scores, tpr=0.7, **options)
    assert summary[f"aupr_{positive}"] == metrics.aupr(id_scores, ood_scores, **options)
    adjusted = metrics.prevalence_adjusted_aupr(id_scores, ood_scores, prevalence=0.1, **options)
    assert summary[f"adjusted_aupr_{positive}"] == adjusted
    assert summary["accept_threshold"] == metrics.accept_threshold(id_scores, share=0.7)


def test_worked_by_hand() -> None:
    # Pairs in order: 2 beats 1 and ties two, 5 and 7 beat four each, 10 all five: 2 + 4 + 4 + 5 = 15 of 20.
    assert metrics.auroc(HAND_ID, HAND_OOD) == 15 / 20
    assert metrics.fpr_at_tpr(HAND_ID, HAND_OOD, tpr=0.8) == 1 / 4
    assert metrics.fpr_at_tpr(HAND_ID, HAND_OOD) == 3 / 4
    assert metrics.fpr_at_tpr(HAND_ID, HAND_OOD, tpr=0.75, positive="ood") == 1 / 5
    # At least 2: everything but the 1.
    assert metrics.fpr_at_tpr(HAND_ID, HAND_OOD, positive="ood") == 4 / 5
    # Precisions at 1; at 2 (twice, a tie with one OOD); at 3; at 9.
    assert metrics.aupr(HAND_ID, HAND_OOD) == pytest.approx((1 + 3 / 4 + 3 / 4 + 4 / 5 + 5 / 8) / 5)
    # From the top: 10; 7 and 5 after the 9; 2 with four ID.
    assert metrics.aupr(HAND_ID, HAND_OOD, positive="ood") == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 8) / 4)
    assert metrics.accept_threshold(HAND_ID, share=0.8) == 3
    assert metrics.accept_threshold(HAND_ID) == 9


def test_adjusted_precision_worked_by_hand() -> None:
    # At 1: TPR 1/2, FPR 0. At 3: TPR 1, FPR 1/2: .1 / (.1 + .9 / 2) = 2 / 11.
    value = metrics.prevalence_adjusted_aupr(np.array([1.0, 3]), np.array([2.0, 4]), prevalence=0.1)
    assert value == pytest.approx((1 + 2 / 11) / 2)


def test_adjusted_aupr_forgets_the_sizes_of_the_sets(rng: np.random.Generator) -> None:
    id_scores, ood_scores = rng.normal(size=50), 1 + rng.normal(size=70)
    for positive in ("id", "ood"):
        share = (50 if positive == "id" else 70) / 120
        own = metrics.prevalence_adjusted_aupr(id_scores, ood_scores, prevalence=share, positive=positive)
        assert own == pytest.approx(metrics.aupr(id_scores, ood_scores, positive=positive))
        # Undoing the sizes of the sets is weighting their examples.
        labels, scores = labeled(id_scores, ood_scores, positive)
        weights = np.where(labels, 0.1 / labels.sum(), 0.9 / (~labels).sum())
        weighted = average_precision_score(labels, scores, sample_weight=weights)
        rare = metrics.prevalence_adjusted_aupr(id_scores, ood_scores, prevalence=0.1, positive=positive)
        assert rare == pytest.approx(weighted, abs=1e-12)
        more = metrics.prevalence_adjusted_aupr(id_scores, np.tile(ood_scores, 9), prevalence=share, positive=positive)
        assert more == pytest.approx(own)
        assert metrics.aupr(id_scores, np.tile(ood_scores, 9), positive=positive) != pytest.approx(own, abs=0.05)


def test_the_threshold_and_the_false_positive_rate_are_one_thing(rng: np.random.Generator) -> None:
    for n in (1, 7, 20, 100, 1000):
        id_scores, ood_scores = rng.normal(size=n).round(1), 1 + rng.normal(size=50).round(1)
        threshold = metrics.accept_threshold(id_scores)
        assert (id_scores <= threshold).mean() >= 0.95 > (id_scores < threshold).mean()
        assert metrics.fpr_at_tpr(id_scores, ood_scores) == (ood_scores <= threshold).mean()


def test_signs_and_conventions_matter(rng: np.random.Generator) -> None:
    id_scores, ood_scores = rng.normal(size=400), 1 + 2 * rng.normal(size=300)
    value = metrics.auroc(id_scores, ood_scores)
    assert value > 0.6
    # A flipped sign is 1 - AUROC; swapped sets with a flipped sign are the other convention.
    assert metrics.auroc(-id_scores, -ood_scores) == pytest.approx(1 - value)
    for function in (metrics.auroc, metrics.fpr_at_tpr, metrics.aupr):
        assert function(-ood_scores, -id_scores, positive="ood") == pytest.approx(function(id_scores, ood_scores))
    assert metrics.fpr_at_tpr(id_scores, ood_scores) < metrics.fpr_at_tpr(-id_scores, -ood_scores) - 0.1
    other = metrics.fpr_at_tpr(id_scores, ood_scores, positive="ood")
    assert abs(other - metrics.fpr_at_tpr(id_scores, ood_scores)) > 0.1
    assert abs(metrics.aupr(id_scores, ood_scores, positive="ood") - metrics.aupr(id_scores, ood_scores)) > 0.02


def test_large_scores_pass_no_sigmoid() -> None:
    small = np.arange(1, 51, dtype=np.float32) / 64
    for offset in (0.0, 20.0, 1e4):  # float32 holds 1e4 + k / 64 exactly; a sigmoid of it is 1
        id_scores, ood_scores = np.float32(offset) + small[:25], np.float32(offset) + small[25:]
        assert metrics.auroc(id_scores, ood_scores) == 1
        assert metrics.fpr_at_tpr(id_scores, ood_scores) == 0
    assert metrics.auroc(np.array([1e4]), np.array([1e4 + 1e-11])) == 1


def test_monotone_maps_change_nothing(rng: np.random.Generator) -> None:
    id_scores, ood_scores = rng.normal(size=300), 1 + rng.normal(size=200)
    plain = metrics.detection_summary(id_scores, ood_scores)
    mapped = metrics.detection_summary(np.exp(id_scores), np.exp(ood_scores))
    del plain["accept_threshold"], mapped["accept_threshold"]
    assert plain == mapped


def test_extremes() -> None:
    low, high = np.array([0.0, 1]), np.array([2.0, 3, 4])
    perfect = metrics.detection_summary(low, high)
    assert [perfect[f"{name}_{p}"] for name in ("fpr_at_tpr", "aupr") for p in ("id", "ood")] == [0, 0, 1, 1]
    blind = metrics.detection_summary(np.ones(3), np.ones(5))
    assert blind["auroc"] == 0.5
    assert blind["fpr_at_tpr_id"] == blind["fpr_at_tpr_ood"] == 1
    assert (blind["aupr_id"], blind["aupr_ood"]) == (3 / 8, 5 / 8)
    assert blind["adjusted_aupr_id"] == blind["adjusted_aupr_ood"] == 0.5
    infinite = metrics.detection_summary(np.array([-np.inf, 0]), np.array([np.inf, 0, np.inf]))
    assert infinite["auroc"] == pytest.approx(5.5 / 6)
    assert metrics.auroc(jnp.array([1.0, 2.0]), jnp.array([2, 3])) == 0.875


@pytest.mark.parametrize("positive", ["id", "ood"])
def test_full_curve_agrees_with_scikit_learn(rng: np.random.Generator, positive: str) -> None:
    id_scores, ood_scores = rng.normal(size=30).round(1), 1 + rng.normal(size=20).round(1)
    curve = metrics.detection_curve(id_scores, ood_scores, positive=positive, points=5000)
    labels, scores = labeled(id_scores, ood_scores, positive)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr)
    np.testing.assert_allclose(curve.tpr, tpr)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(curve.precision[1:], precision[:-1][::-1])
    np.testing.assert_allclose(curve.tpr[1:], recall[:-1][::-1])
    sign = 1 if positive == "ood" else -1
    np.testing.assert_array_equal(sign * curve.thresholds, [np.inf, *thresholds[::-1]])
    assert np.diff(curve.tpr) @ curve.precision[1:] == pytest.approx(
        metrics.aupr(id_scores, ood_scores, positive=positive)
    )


@pytest.mark.parametrize("positive", ["id", "ood"])
def test_thinned_curve_stays_on_the_curve(rng: np.random.Generator, positive: str) -> None:
    id_scores, ood_scores = rng.normal(size=20_000), 1 + rng.normal(size=4_000)
    curve = metrics.detection_curve(id_scores, ood_scores, positive=positive)
    assert 150 < len(curve.tpr) <= 200
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    good, bad = (id_scores, ood_scores) if positive == "id" else (-ood_scores, -id_scores)
    for threshold, fpr, tpr in list(zip(curve.thresholds, curve.fpr, curve.tpr, strict=True))[::17]:
        bound = threshold if positive == "id" else -threshold
        assert (fpr, tpr) == pytest.approx(((bad <= bound).mean(), (good <= bound).mean()))
    area = metrics.auroc(id_scores, ood_scores)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(area, abs=2e-4)
    assert np.diff(curve.tpr + curve.fpr).max() < 0.03
    assert len(metrics.detection_curve(np.zeros(3), np.zeros(2)).tpr) == 2
    assert len(metrics.detection_curve(id_scores, ood_scores, points=4).tpr) <= 4


def test_a_million_scores_are_fast(rng: np.random.Generator) -> None:
    id_scores, ood_scores = (rng.normal(size=500_000).astype(np.float32) for _ in range(2))
    begin = time.process_time()
    metrics.detection_summary(id_scores, ood_scores)
    # 0.06 s; scikit-learn takes 0.8 s for a part of it.
    assert time.process_time() - begin < 0.4


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "function",
    [metrics.auroc, metrics.fpr_at_tpr, metrics.aupr, metrics.detection_summary, metrics.detection_curve],
)
def test_degenerate_sets_are_refused(function: Callable[..., Any]) -> None:
    good = np.arange(3.0)
    with pytest.raises(ValueError, match="ood_scores must hold at least one score; got none"):
        function(good, np.zeros(0))
    with pytest.raises(ValueError, match="id_scores must hold at least one score"):
        function(np.zeros(0), good)
    with pytest.raises(ValueError, match="ood_scores must not be NaN; 1 of 2 are, the first at example 1"):
        function(good, np.array([0, np.nan]))
    with pytest.raises(ValueError, match="id_scores must have 1 axes"):
        function(good[:, None], good)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: metrics.auroc(s, s, positive="odd"), "positive must be one of 'id', 'ood'; got 'odd'. Did you mean"),
        (lambda s: metrics.aupr(s, s, positive="in"), "positive must be one of 'id', 'ood'"),
        (lambda s: metrics.fpr_at_tpr(s, s, tpr=95), r"tpr must be in \(0, 1\]; got 95"),
        (lambda s: metrics.fpr_at_tpr(s, s, tpr=0.0), r"tpr must be in \(0, 1\]"),
        (lambda s: metrics.prevalence_adjusted_aupr(s, s, prevalence=1.0), r"prevalence must be in \(0, 1\)"),
        (lambda s: metrics.accept_threshold(s, share=1.5), r"share must be in \(0, 1\]"),
        (lambda s: metrics.accept_threshold(s[:0]), "id_scores must hold at least one score"),
        (lambda s: metrics.accept_threshold(s * np.nan), "id_scores must not be NaN; 3 of 3"),
        (lambda s: metrics.detection_curve(s, s, points=3), "points must be at least 4; got 3"),
        (lambda s: metrics.detection_summary(s, s, prevalence=0.0), r"prevalence must be in \(0, 1\)"),
    ],
)
def test_bad_options_are_refused(call: Callable[[np.ndarray], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.arange(3.0))
