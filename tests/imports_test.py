"""The arrows between modules run one way, imports do nothing but define, and TensorFlow stays out."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mollax"

# Packages of methods: pure functions of arrays and keys, each of which knows nothing of the others.
METHODS = ("mollify", "augment", "corrupt", "invariance", "ood", "drift", "metrics", "models")
# From the bottom up: a unit (module or package of mollax) imports from lower layers and from itself.
LAYERS = (
    ("checks", "host", "export_loader", "threefry"),
    ("image", "durations", "keys", "logbook", "optim", "parallel", "progress", "state"),
    (*METHODS, "data", "report"),
    ("objectives", "evaluators"),
    ("synthetic", "other_sets"),
    ("step", "checkpoint", "recipes", "flow_recipes", "ood_recipes", "augmenters", "detectors", "preparation"),
    ("experiment",),
    ("evaluation", "finished_run"),
    ("finish", "serving", "auditing"),
    ("train",),
    ("command", "grid"),
    ("main", "figures", "corrupt_set", "sweep", "align", "audit", "predict", "export"),
)
HEIGHT = {unit: height for height, layer in enumerate(LAYERS) for unit in layer}
METHOD_LIBRARIES = {"jax", "flax", "optax", "distrax", "numpy", "scipy", "PIL", "jaxtyping"}
CONFIG_UNITS = {
    "align",
    "recipes",
    "flow_recipes",
    "ood_recipes",
    "augmenters",
    "detectors",
    "preparation",
    "synthetic",
    "main",
    "train",
    "experiment",
    "evaluation",
    "other_sets",
    "finish",
    "finished_run",
    "command",
    "grid",
    "sweep",
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def unit_of(module: Path) -> str:
    """The module or package directly below mollax that a file belongs to; "" for mollax/__init__.py."""
    name = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def imports(source: str) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether it is imported together with the module) of every import, guarded ones too."""
    tree = ast.parse(source)
    lazy = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in lazy
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import on line {node.lineno}"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node not in lazy


def wrong_arrows(unit: str, source: str) -> list[str]:
    """Imports of mollax that point up or sideways."""
    wrong = []
    for name, _ in imports(source):
        root, _, rest = name.partition(".")
        target = rest.split(".")[0]
        if root != "mollax" or target in ("", "__version__", unit):
            continue
        assert target in HEIGHT, f"give {target!r} a place in LAYERS"
        allowed = target in ("image", "checks") if unit in METHODS else HEIGHT[target] < HEIGHT[unit]
        if not allowed:
            wrong.append(f"{unit} imports mollax.{target}")
    return wrong


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_run_one_way(module):
    unit, source = unit_of(module), module.read_text(encoding="utf-8")
    if not unit:
        assert not list(imports(source)), "mollax/__init__.py imports nothing: each package is imported by name"
        return
    assert unit in HEIGHT, f"give {unit!r} a place in LAYERS"
    assert not wrong_arrows(unit, source)
    roots = {name.split(".")[0] for name, _ in imports(source)} - set(sys.stdlib_module_names) - {"mollax"}
    if unit in METHODS or unit == "image":
        assert roots <= METHOD_LIBRARIES, f"{unit} is a method package: {sorted(roots - METHOD_LIBRARIES)}"
    if unit not in CONFIG_UNITS:
        assert "ml_collections" not in roots, f"{unit} takes plain arguments, never a ConfigDict"


def test_arrow_test_can_fail():
    assert wrong_arrows("mollify", "from mollax import augment") == ["mollify imports mollax.augment"]
    assert wrong_arrows("image", "def f():\n    import mollax.metrics.calibration\n") == [
        "image imports mollax.metrics"
    ]
    assert wrong_arrows("step", "from mollax.train import evaluate") == ["step imports mollax.train"]
    assert not wrong_arrows("train", "from mollax import step\nfrom mollax.state import TrainState")


@pytest.mark.parametrize("folder", ["mollax", "configs", "tests", "benchmarks"])
def test_nothing_imports_tensorflow(folder):
    for module in (ROOT / folder).rglob("*.py"):
        for name, at_import in imports(module.read_text(encoding="utf-8")):
            root = name.split(".")[0]
            assert root != "tensorflow", module
            # Slow to import and used by one reader; the builder is a subclass and cannot wait.
            if root == "tensorflow_datasets" and folder == "mollax":
                assert not at_import or module.name == "tiny_imagenet_builder.py", module


SIDE_EFFECTS = """
import importlib, logging, pkgutil, sys, threading
import mollax
assert not [name for name in sys.modules if name.startswith("mollax.")], "mollax alone imports nothing else"
import absl.logging, jax, optax, flax.linen, orbax.checkpoint  # whatever these do is not ours
before = {name: jax.config.values[name] for name in jax.config.values}
handlers = list(logging.root.handlers)
skipped = {"mollax.data.tiny_imagenet_builder"}  # registers itself with tfds, on demand
names = [m.name for m in pkgutil.walk_packages(mollax.__path__, "mollax.") if m.name not in skipped]
assert "mollax.main" in names and "mollax.mollify.couple" in names, names
for name in names:
    importlib.import_module(name)
assert "tensorflow_datasets" not in sys.modules, "slow to import, and one reader needs it"
assert logging.root.handlers == handlers, "an import configured logging"
changed = {name for name in before if jax.config.values[name] != before[name]}
assert not changed, f"an import changed jax.config: {changed}"
assert threading.active_count() == 1, f"an import started threads: {threading.enumerate()}"
# Only before JAX's backend starts can the number of devices be chosen; afterwards this line raises.
jax.config.update("jax_num_cpu_devices", 3)
assert jax.device_count() == 3
"""


def test_imports_have_no_side_effects(tmp_path):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment.pop("XLA_FLAGS", None)
    done = subprocess.run(
        [sys.executable, "-c", SIDE_EFFECTS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir()), "an import wrote files"
