"""Conventions over every public function: key first, options by keyword, annotations, documented errors."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [
    f"mollax.{name}"
    for name in ("image", "mollify", "augment", "corrupt", "invariance", "ood", "drift", "metrics", "models")
    if (ROOT / "mollax" / name / "__init__.py").exists()
]
# Signatures that DESIGN fixes with an option that may be given by position.
POSITIONAL_OPTIONS = {
    "mollax.mollify.noise_label_decay": {"k"},
    "mollax.mollify.blur_label_decay": {"k"},
}


def public(kind: Callable[[Any], bool]) -> list[tuple[str, Any]]:
    """(dotted name, object) of everything public of one kind, in all method packages."""
    found = []
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name, None)
            if kind(thing):
                found.append((f"{package}.{name}", thing))
    return found


def is_function(thing: Any) -> bool:
    """Functions, jitted ones too; no classes."""
    return callable(thing) and not inspect.isclass(thing)


FUNCTIONS = public(is_function)
CLASSES = public(inspect.isclass)


def names(pairs: list[tuple[str, Any]]) -> list[str]:
    """Test ids."""
    return [name.removeprefix("mollax.") for name, _ in pairs]


def every_function(test: Callable) -> Callable:
    """Runs a test over all public functions."""
    return pytest.mark.parametrize("name, function", FUNCTIONS, ids=names(FUNCTIONS))(test)


def order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions, each by the alphabet (as ruff sorts them)."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def complaints(name: str, function: Callable) -> list[str]:
    """What a signature and a docstring do against the conventions."""
    wrong = []
    signature = inspect.signature(function)
    if signature.return_annotation is inspect.Signature.empty:
        wrong.append("the result has no annotation")
    parameters = list(signature.parameters.values())
    for position, parameter in enumerate(parameters):
        annotation = str(parameter.annotation)
        if parameter.annotation is inspect.Parameter.empty:
            wrong.append(f"{parameter.name} has no annotation")
        random = re.search(r"\bPRNGKeyArray\b|\bKey\[", annotation) is not None
        if random and parameter.name not in ("key", "keys"):
            wrong.append(f"{parameter.name} is random: call it key")
        if (random or parameter.name in ("key", "rng", "prng_key")) and position != 0:
            wrong.append(f"{parameter.name} comes first or not at all")
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and (
            parameter.default is not inspect.Parameter.empty
            and parameter.name not in POSITIONAL_OPTIONS.get(name, set())
        ):
            wrong.append(f"{parameter.name} has a default: make it keyword-only")
    doc = inspect.getdoc(function) or ""
    if len(doc) < 20:
        wrong.append("no docstring")
    if raises(function) and not re.search(r"\b[Rr]aises?\b", doc):
        wrong.append("raises, and the docstring does not say what")
    return wrong


def raises(function: Callable) -> bool:
    """Whether the function's own body has a `raise`, or calls a check of `mollax.checks`."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("checks."):
            return True
    return False


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_exists(package):
    module = importlib.import_module(package)
    assert isinstance(module, ModuleType)
    assert module.__doc__, "states the conventions of its arrays"
    assert sorted(module.__all__, key=order) == list(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    assert not [name for name in module.__all__ if not hasattr(module, name)]
    assert not [name for name in module.__all__ if name.startswith("_")]


def test_there_is_something_to_test():
    assert len(PACKAGES) >= 5
    assert len(FUNCTIONS) >= 60, names(FUNCTIONS)


@every_function
def test_conventions(name, function):
    assert not complaints(name, function)


@pytest.mark.parametrize("name, kind", CLASSES, ids=names(CLASSES))
def test_public_classes_are_documented(name, kind):
    assert len(inspect.getdoc(kind) or "") >= 20
    for attribute, member in vars(kind).items():
        if attribute.startswith("_") or not inspect.isfunction(member):
            continue
        if member.__module__ != kind.__module__:  # made by Flax or by dataclasses
            continue
        assert inspect.getdoc(member), f"{name}.{attribute} has no docstring"


@pytest.mark.parametrize("listed, parameters", POSITIONAL_OPTIONS.items(), ids=list(POSITIONAL_OPTIONS))
def test_exceptions_are_needed(listed, parameters):
    function = dict(FUNCTIONS)[listed]
    for parameter in parameters:
        assert inspect.signature(function).parameters[parameter].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


def test_conventions_can_fail():
    def bad(image, rng, size=3):
        if size < 0:
            raise ValueError(size)
        return image

    found = " ".join(complaints("bad", bad))
    for part in (
        "result",
        "image has no annotation",
        "rng comes first",
        "size has a default",
        "docstring",
        "raises",
    ):
        assert part in found
