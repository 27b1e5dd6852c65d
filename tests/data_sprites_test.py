"""The drawn figures: rotations against Pillow and exact quarter turns, arcs, seeds, and no symmetry."""

import numpy as np
import pytest
from PIL import Image

from mollax.data.dataset import ReadOptions
from mollax.data.duplicates import content_hashes
from mollax.data.sprites import FIGURES, draw_sprite, figure_cells, read_sprites, sprite_angles


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("degrees", [0, 20, -75, 160])
def test_drawing_is_the_rotated_figure(figure, degrees):
    # Reference: cells blown up 14 times (16 cells on 0.7 of 320 pixels), turned by Pillow, averaged 10 to 1.
    canvas = np.zeros((320, 320, 3), np.uint8)
    canvas[48:272, 48:272] = figure_cells(figure).repeat(14, 0).repeat(14, 1)
    turned = Image.fromarray(canvas).rotate(degrees, Image.Resampling.BICUBIC).reduce(10)
    ours = draw_sprite(figure, np.deg2rad(degrees))
    assert difference(ours, np.asarray(turned)) < 1.0
    assert difference(ours, np.asarray(turned)[:, ::-1]) > 10  # the test can tell pictures apart


@pytest.mark.parametrize("figure", FIGURES)
def test_quarter_turns_are_exact_and_all_different(figure):
    upright = draw_sprite(figure, 0.0)
    for quarter in range(1, 4):
        turned = draw_sprite(figure, quarter * np.pi / 2)
        np.testing.assert_allclose(turned.astype(int), np.rot90(upright, quarter), atol=1)
        assert difference(turned, upright) > 20
    assert difference(upright, upright[:, ::-1]) > 5
    assert difference(upright, upright[::-1]) > 5


def test_no_part_is_lost_in_turning():
    for figure in FIGURES:
        light = [draw_sprite(figure, a, 64).astype(float).mean() for a in np.linspace(0, 6, 9)]
        assert max(light) - min(light) < 0.02 * max(light)


@pytest.mark.parametrize(
    "angles, centers, half", [("45", (0, 180), 45), ("90", (0, 180), 90), ("three_modes", (0, 60), 30)]
)
def test_angles_fill_their_arcs(angles, centers, half):
    turned, labels = sprite_angles("train", angles=angles, per_class=600)
    assert np.bincount(labels).tolist() == [600] * 4
    degrees = np.rad2deg(turned)
    assert ((degrees >= 0) & (degrees < 360)).all()
    period = 120 if angles == "three_modes" else 360
    for label in range(4):
        offset = (degrees[labels == label] - centers[label % 2] + period / 2) % period - period / 2
        assert np.abs(offset).max() <= half
        # Uniform: mean 0 and variance half^2 / 3, within five standard errors.
        assert abs(offset.mean()) < 5 * half / np.sqrt(3 * 600)
        assert np.isclose(offset.var(), half**2 / 3, rtol=0.2)
        if angles == "three_modes":
            arcs = np.rint((degrees[labels == label] - centers[label % 2]) / 120).astype(int) % 3
            assert np.bincount(arcs).min() > 150


def test_images_are_drawn_at_the_given_angles():
    raw = read_sprites(None, ReadOptions(seed=3), angles="90", per_class=3, test_per_class=2)
    assert raw.class_names == ("sprout upright", "sprout upside down", "kettle upright", "kettle upside down")
    for split, number in (("train", 3), ("test", 2)):
        turned, labels = sprite_angles(split, angles="90", per_class=number, seed=3)
        np.testing.assert_array_equal(raw.splits[split].labels, labels)
        for image, angle, label in zip(raw.splits[split].images, turned, labels, strict=True):
            np.testing.assert_array_equal(image, draw_sprite(("sprout", "kettle")[label // 2], float(angle)))


def test_seed_decides_and_splits_differ():
    def hashes(seed: int, split: str, per_class: int = 4) -> list[bytes]:
        raw = read_sprites(None, ReadOptions(seed=seed), per_class=per_class, test_per_class=4)
        return content_hashes(raw.splits[split].images)

    assert hashes(0, "train") == hashes(0, "train")
    assert hashes(0, "test") == hashes(0, "test", per_class=6)  # more training images, the same test set
    assert not set(hashes(0, "train")) & set(hashes(1, "train"))
    assert not set(hashes(0, "train")) & set(hashes(0, "test"))


def test_size_and_channels():
    raw = read_sprites("", ReadOptions(image_size=48, channels=1), angles="three_modes", per_class=1, test_per_class=1)
    assert raw.splits["train"].images.shape == (4, 48, 48, 1)
    assert raw.class_names[:2] == ("sprout positive", "sprout negative")


def test_bad_input():
    with pytest.raises(ValueError, match="angles must be one of '45', '90', 'three_modes'; got '60'"):
        read_sprites(None, ReadOptions(), angles="60")
    with pytest.raises(ValueError, match="drawn and read no file"):
        read_sprites("/data", ReadOptions())
    with pytest.raises(ValueError, match="per_class must be at least 1; got 0"):
        read_sprites(None, ReadOptions(), per_class=0)
    with pytest.raises(ValueError, match="image_size must be at least 16; got 8"):
        read_sprites(None, ReadOptions(image_size=8))
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'"):
        sprite_angles("validation")
