"""The command that draws the method, and the page that explains its pictures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from PIL import Image

from mollax import data, figures, mollify
from mollax.data import Dataset
from mollax.evaluators import spectrum
from mollax.image import standardize, unstandardize

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "METHOD.md").read_text(encoding="utf-8")
CURVE = ROOT / "docs" / "results" / "png_curve.json"
NAMES = ["schedules", "noise_strip", "blur_strip", "temperatures", "dirichlet", "png_curve"]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits")


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two classes of 24-pixel images, gray and color mixed."""
    for name, shape in (("a", (30, 24, 3)), ("b", (24, 30))):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


def test_all_figures_are_drawn_and_saved(digits, tmp_path):
    drawn = figures.draw(digits)
    assert list(drawn) == NAMES
    files = figures.save(drawn, tmp_path / "new" / "folder", formats=["png", "svg"], dpi=30, colors=16)
    assert [file.name for file in files] == [f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")]
    for file in files:
        if file.suffix == ".png":
            picture = Image.open(file)
            assert picture.mode == "P"
            assert len(picture.getcolors()) in range(4, 17), file
        else:
            assert "</svg>" in file.read_text(encoding="utf-8")


def test_strips_show_what_the_mollifier_does(digits):
    mean, std = np.array([0.3]), np.array([0.4])
    drawn = figures.strips(digits.test.images[:2], mean=mean, std=std, classes=10, temperatures=(0.0, 0.3, 1.0))
    noise, blur = (np.array(drawn[name].axes, dtype=object).reshape(2, 3) for name in ("noise_strip", "blur_strip"))

    def pixels(axes):
        return np.asarray(axes.images[0].get_array(), dtype=float) / 255

    original = digits.test.images[1] / np.float32(255)
    np.testing.assert_allclose(pixels(noise[1, 0]), original[..., 0], atol=0.5 / 255 + 1e-6)
    center, spread = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    blurred = mollify.blur(standardize(jnp.asarray(original), center, spread), mollify.blur_scale(jnp.float32(0.3), 8))
    expected = np.clip(np.asarray(unstandardize(blurred, center, spread)), 0, 1)[..., 0]
    np.testing.assert_allclose(pixels(blur[1, 1]), expected, atol=0.5 / 255 + 1e-5)
    # gamma = sin(0.15 pi)^2 = 0.206 and 0.3; a tenth of it comes back.
    assert [axes.get_xlabel() for axes in noise[1]] == ["label 100 %", "label 81 %", "label 10 %"]
    assert [axes.get_xlabel() for axes in blur[1]] == ["label 100 %", "label 73 %", "label 10 %"]
    assert [axes.get_title() for axes in blur[0]] == ["t = 0\n0.3 px", "t = 0.3\n0.8 px", "t = 1\n8.0 px"]
    assert not np.array_equal(pixels(noise[0, 2]), pixels(noise[1, 2])), "one noise draw a picture"


def test_png_curve_is_the_stored_one_or_measured(digits, folder, tmp_path):
    stored = json.loads(CURVE.read_text(encoding="utf-8"))
    line = figures.png_curve(digits, str(CURVE)).axes[0].lines[3]
    np.testing.assert_array_equal(line.get_ydata(), stored["mean"])
    tiny = figures.png_curve(digits).axes[0]
    assert "TinyImageNet" in tiny.get_xlabel()
    own = figures.load(str(folder), "folder", image_size=24)
    axes = figures.png_curve(own).axes[0]
    assert f"{len(own.test)} test images of images" in axes.get_xlabel()
    t = np.asarray(axes.lines[3].get_xdata(), dtype=float)
    measured = mollify.png_loss_curve(own.test.images, t)
    np.testing.assert_allclose(axes.lines[3].get_ydata(), measured.mean(axis=0))
    (tmp_path / "bad.json").write_text('{"mean": []}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.json has no t, standard_deviation"):
        figures.png_curve(digits, str(tmp_path / "bad.json"))


@pytest.mark.parametrize("numbers", [[], ["-1"], ["359"], ["cat"]])
def test_pictures_are_numbers_of_test_images(digits, numbers):
    with pytest.raises(ValueError, match="numbers from 0 to 358"):
        figures.choose(digits, numbers)


def test_corrupted_pictures_are_grouped(digits):
    figure = figures.corruption_pictures(digits.test.images[0], mean=np.array([0.3]), std=np.array([0.4]))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[0] == "untouched"
    assert {"Speckle noise", "Zoom blur", "Spatter", "JPEG compression"} < set(titles)
    assert len(titles) == 3 + 19


def test_spectra_of_changes_in_numbers_and_pictures(digits, monkeypatch):
    monkeypatch.setattr(figures, "groups", lambda: {"noise": ("gaussian_noise",), "blur": ("zoom_blur",)})
    monkeypatch.setattr(figures.evaluators, "corruption_spectra", few_spectra)
    figure, numbers = figures.dct_change(digits, 30)
    assert numbers["images"] == "30 test images of digits"
    found = numbers["corruptions"]
    assert found["gaussian_noise"]["overlap"]["noise"] > found["gaussian_noise"]["overlap"]["blur"]
    assert found["zoom_blur"]["overlap"]["blur"] > found["zoom_blur"]["overlap"]["noise"]
    assert len(found["zoom_blur"]["bands"]) == figures.BANDS
    notes = [axes.get_xlabel() for axes in figure.axes]
    assert f"noise {100 * found['zoom_blur']['overlap']['noise']:.0f} %, blur" in " ".join(notes)


def few_spectra(images: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    return spectrum.corruption_spectra(images, ["gaussian_noise", "zoom_blur"], severities=(5,), **options)


def test_bands_are_means_over_rings():
    spectrum_of_radius = np.add.outer(np.arange(8.0), np.zeros(8))
    summary = figures._summary(spectrum_of_radius)
    assert summary["mean"] == 3.5
    down, across = np.mgrid[:8, :8] / 8
    ring = (np.hypot(down, across) / np.sqrt(2) >= 0.25) & (np.hypot(down, across) / np.sqrt(2) < 0.375)
    assert summary["bands"][2] == pytest.approx(spectrum_of_radius[ring].mean(), abs=1e-5)
    assert figures._summary(np.ones((2, 2)))["bands"].count(None) == 5


def test_images_of_a_folder_become_color(folder):
    assert figures.load(str(folder), "folder", image_size=24).image_shape == (24, 24, 3)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mollax.figures", *arguments], capture_output=True, text=True, timeout=300, cwd=ROOT
    )


def test_command_says_what_it_wrote(tmp_path):
    done = run(f"--out={tmp_path}", "--formats=png", "--dpi=30", "--pictures=3")
    assert done.returncode == 0, done.stderr
    assert [Path(line.split(" (")[0]).name for line in done.stdout.splitlines()] == [f"{name}.png" for name in NAMES]
    assert len(list(tmp_path.iterdir())) == len(NAMES)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "give --out=FOLDER"),
        (("--out={out}", "--images=no/such/folder"), "does not exist"),
        (("--out={out}", "--reader=folde", "--images=docs"), "Did you mean 'folder'"),
        (("--out={out}", "--formats=pgn"), "pgn"),
    ],
)
def test_command_ends_in_one_message(arguments, message, tmp_path, monkeypatch, capsys):
    values = flags.FLAGS
    saved = flags.FLAGS.flag_values_dict()
    monkeypatch.chdir(ROOT)
    values(["figures", *(argument.format(out=tmp_path) for argument in arguments)])
    try:
        with pytest.raises(SystemExit) as stopped:
            figures.main(["figures"])
    finally:
        for name in ("out", "images", "reader", "formats"):
            setattr(flags.FLAGS, name, saved[name])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_page_shows_every_picture_and_each_is_small():
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)
    assert sorted(shown) == sorted(f"figures/{name}.png" for name in [*NAMES, "corruptions", "dct_change"])
    for name in shown:
        assert (ROOT / "docs" / name).stat().st_size < 150_000, name
        Image.open(ROOT / "docs" / name).verify()


def test_page_links_and_flags_exist():
    for target in re.findall(r"(?<!!)\[[^\]]+\]\(([^)]+)\)", PAGE):
        if not target.startswith(("http", "#")):
            assert (ROOT / "docs" / target).exists(), target
    commands = re.findall(r"python -m mollax\.figures ((?:.|\\\n)*?)\n```", PAGE)
    assert len(commands) == 2
    used = {flag for command in commands for flag in re.findall(r"--(\w+)=", command)}
    assert {"out", "images", "reader"} <= used <= set(flags.FLAGS)
