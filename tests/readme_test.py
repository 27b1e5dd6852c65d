"""What the README says can be run, and runs; the three commands are the same everywhere."""

from __future__ import annotations

import functools
import operator
import re
import shlex
from pathlib import Path

import jax
import pytest
from absl import flags
from configs_test import load
from ml_collections import config_flags

from mollax import recipes

# ml_collections loads config files through a method that Python has deprecated.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Words of every call of the program."""
    lines = [line for block in blocks("bash") for line in block.splitlines() if "mollax.main" in line]
    return [shlex.split(line[line.index("mollax.main") :]) for line in lines]


def test_python_blocks_run():
    sources = blocks("python")
    assert sources
    # A reader has JAX's defaults, not the strictness of our tests.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for source in sources:
            namespace: dict = {}
            exec(compile(source, "README.md", "exec"), namespace)
            assert namespace["accuracy"] > 0.85


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[1])
def test_commands_name_what_exists(command):
    program = "".join((ROOT / "mollax" / f"{name}.py").read_text(encoding="utf-8") for name in ("main", "command"))
    known = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', program))
    given = {word.removeprefix("--").partition("=")[0] for word in command[1:]}
    assert {"config", "workdir"} <= given
    assert {name for name in given if not name.startswith("config.")} <= known
    # Loaded as the program does it: the file, its words and every field have to be there.
    values = flags.FlagValues()
    settings = [word for word in command[1:] if word.startswith(("--config=", "--config."))]
    arguments = ["mollax", *(word.replace("=configs/", f"={ROOT}/configs/") for word in settings)]
    config_flags.DEFINE_config_file("config", lock_config=True, flag_values=values, sys_argv=arguments)
    values(arguments)
    assert values["config"].value.is_locked


def test_settings_in_the_text_exist():
    named = set(re.findall(r"--config\.([\w.]+)=", README))
    assert len(named) > 5
    sets = {name for name in named if name.startswith("eval.ood.sets.")}  # every config names its own
    for name in named - sets:
        functools.reduce(operator.getitem, name.split("."), recipes.base())
    folder = load(ROOT / "configs" / "folder.py")
    for name in sets:
        functools.reduce(operator.getitem, name.split("."), folder)


def test_ci_runs_the_second_command():
    _, second = blocks("bash")[:2]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    steps = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert steps[0] == "set -euo pipefail"
    assert steps[-1] == second.strip()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, ".ci/run can be executed"
    assert "run: .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_both_first_commands_stand_alone():
    for block in blocks("bash")[:2]:
        assert len(block.strip().splitlines()) == 1
        assert block.startswith("python3.11 -m venv .venv && .venv/bin/pip install -c constraints.txt -e ")


def test_lint_and_types_are_the_same_everywhere():
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert "http" not in hooks, "hooks are local"
    for command in ("ruff check", "ruff format --check", "mypy"):
        assert command in guide
        assert command in workflow
        assert f"entry: {command}\n" in hooks


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_readme_is_short():
    assert len(README.splitlines()) <= 220
    assert "## Results" in README
