"""Options that would be dropped are errors that say what to do instead."""

import types
from pathlib import Path

import audit_images
import numpy as np
import pytest

from mollax.auditing import options
from mollax.auditing.material import Form
from mollax.auditing.space import Pixels


def saved(*, kernel="mollifier", strength=0.3, groups=None, jpeg=0):
    """What is asked of a saved reference."""
    held = types.SimpleNamespace(groups=groups, points=np.zeros((2, 3), np.float32))
    return types.SimpleNamespace(kernel=kernel, strength=strength, held=held, form=Form(8, 1, jpeg))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({}, "Name training images by --reference"),
        (
            {"workdir": Path("run"), "held_out": "validation"},
            "--held-out=validation is for images that --reference names",
        ),
        ({"workdir": Path("run"), "split": "test"}, "--split=test is for images that --reference names"),
        ({"reference": "x", "held_out": "y", "held_out_share": 0.2}, "either --held-out, or --held-out-share"),
    ],
)
def test_sides(changes, message):
    with pytest.raises(ValueError, match=message):
        options.check_sides(audit_images.settings(**changes))


@pytest.mark.parametrize("changes", [{"groups": 1}, {"held_out_share": 0.0}, {"reader": "folder"}, {"name": "mnist"}])
def test_the_runs_own_data_leave_no_choice(changes):
    with pytest.raises(ValueError, match=r"does not go with the run's own data.* Leave it out, or name images"):
        options.check_run_data(audit_images.settings(**changes))
    options.check_run_data(audit_images.settings())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"jpeg_quality": 50}, "--jpeg-quality=50, but the images of kept.npz went through no JPEG. Leave it out"),
        ({"held_out_share": 0.3}, "--held-out-share=0.3 is for images that are read"),
        ({"held_out": "x"}, "held-out part of its own"),
        ({"groups": 1}, "--groups=1 is for images that are read"),
        ({"split": "test"}, "--split=test is for images that are read"),
        ({"size": 9}, "holds images of 8 x 8"),
    ],
)
def test_a_saved_reference_is_as_it_is(changes, message, unhooked):
    with pytest.raises(ValueError, match=message):
        options.check_saved(audit_images.settings("kept.npz", **changes), saved(), "pixels", None, Pixels())


def test_what_agrees_with_a_saved_reference_is_no_mistake(unhooked):
    settings = audit_images.settings("kept.npz", jpeg_quality=80, groups=1, size=8)
    options.check_saved(settings, saved(jpeg=80, groups=("a", "b")), "pixels", None, Pixels())
    with pytest.raises(ValueError, match="went through JPEG of quality 80"):
        options.check_saved(audit_images.settings("kept.npz", jpeg_quality=0), saved(jpeg=80), "pixels", None, Pixels())
    with pytest.raises(ValueError, match="holds features; give --workdir=RUN"):
        options.check_saved(audit_images.settings("kept.npz"), saved(), "features", None, Pixels())


@pytest.mark.parametrize(
    "kernel, expected",
    [
        ("", "averaged:floor=0.3,alpha=1.0,beta=3.0"),
        ("averaged", "averaged"),  # beta is 2 by default
        ("averaged:beta=3", "averaged:beta=3"),
        ("gaussian", "gaussian"),
    ],
)
def test_the_saved_kernel_is_taken_unless_another_is_named(kernel, expected, unhooked):
    known = saved(kernel="averaged:alpha=1,beta=3")
    assert options.saved_kernel(audit_images.settings(kernel=kernel), known) == expected


def test_images_that_choose_the_strength_leave_it_open(unhooked):
    known = saved()
    assert options.saved_kernel(audit_images.settings(theta_from="x"), known) == "mollifier"
    assert options.saved_kernel(audit_images.settings(kernel="mollifier"), known) == "mollifier:t=0.3"
    with pytest.raises(
        ValueError, match="theta-from chooses the strength that --kernel=gaussian:sigma=1 already gives"
    ):
        options.check_strength(audit_images.settings(theta_from="x"), "gaussian:sigma=1")
    options.check_strength(audit_images.settings(theta_from="x"), "gaussian")
