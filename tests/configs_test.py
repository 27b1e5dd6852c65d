"""Every config loads, locked, as a short difference to `recipes.base()`; mistakes get one line."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from mollax import durations, models, recipes
from mollax.data.readers import READERS

# ml_collections loads config files through a method that Python has deprecated.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")
ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
# Dictionaries whose keys belong to what they configure; they may grow.
OPEN = {
    "eval.ood.sets",
    "ood.more_auxiliary",
    "ood.options",
    "model.options",
    *(f"invariance.{name}" for name in ("options", "controller_options", "pose_options")),
}
PARTS = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

every_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


def load(path: Path, words: str = "", *overrides: str) -> ConfigDict:
    """A config as the program gets it: through flags, locked."""
    values = flags.FlagValues()
    arguments = ["mollax", f"--config={path}" + (f":{words}" if words else ""), *overrides]
    config_flags.DEFINE_config_file("config", lock_config=True, flag_values=values, sys_argv=arguments)
    values(arguments)
    return values["config"].value


def leaves(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict) and prefix + name not in OPEN:
            flat.update(leaves(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def words_of(path: Path) -> list[str]:
    """The words that a config takes after the colon, from its own complaint about another."""
    with pytest.raises(flags.IllegalFlagValueError) as caught:
        load(path, "nonsense")
    listed = re.search(r"config argument must be one of (.*); got 'nonsense'", str(caught.value))
    return re.findall(r"'(\w+)'", listed[1])


def code_lines(source: str) -> int:
    """Lines that hold code: no comments, blank lines or docstrings."""
    numbers = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in PARTS:
            numbers.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node):
            numbers -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(numbers)


def test_there_are_configs():
    assert {path.stem for path in CONFIGS} >= {
        "digits",
        "sprites",
        "mnist",
        "cifar10",
        "cifar100",
        "tin",
        "folder",
    }


@every_config
def test_is_locked_and_declares_nothing_new(path):
    config = load(path)
    assert isinstance(config, ConfigDict)
    assert config.is_locked
    expected = leaves(recipes.base())
    found = leaves(config)
    assert found.keys() == expected.keys()
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }
    with pytest.raises(AttributeError, match='Did you mean "lr"'):
        load(path, "", "--config.optim.lrr=1")
    assert load(path, "", "--config.optim.lr=0.125").optim.lr == 0.125


@every_config
def test_is_a_short_documented_difference(path):
    source = path.read_text(encoding="utf-8")
    assert code_lines(source) <= 40
    doc = ast.get_docstring(ast.parse(source))
    assert f"python -m mollax.main --config=configs/{path.name}" in doc
    assert "--workdir=runs/" in doc
    undocumented = [word for word in words_of(path) if f"`{word}`" not in doc]
    assert not undocumented, f"{path.name} takes words that its docstring does not name"


@every_config
def test_every_word_loads(path):
    for word in words_of(path):
        config = load(path, word)
        assert config.model.name in models.MODELS
        assert config.data.reader in READERS
        total = durations.to_steps("train.duration", config.train.duration, steps_per_epoch=100.5)
        for name in ("log.every", "eval.every", "checkpoint.every", "optim.warmup"):
            group, field = name.split(".")
            assert durations.to_steps(name, config[group][field], steps_per_epoch=100.5, total=total) <= total


@every_config
def test_smoke_is_small(path):
    config = load(path, "smoke")
    assert config.name.endswith("-smoke")
    assert durations.to_steps("train.duration", config.train.duration, steps_per_epoch=10) <= 10
    assert 0 < config.data.limit <= 1000
    assert 0 < config.data.test_limit <= 1000


def test_words_join_in_order():
    config = load(ROOT / "configs" / "cifar10.py", "images,small,plain,smoke")
    assert config.data.reader == "folder"
    assert config.model.name == "resnet8"
    assert not config.mollify.enabled
    assert config.name == "cifar10-plain-smoke"


@every_config
def test_unknown_word_names_the_nearest(path):
    with pytest.raises(flags.IllegalFlagValueError, match=r"got 'smok'\. Did you mean 'smoke'\?"):
        load(path, "smok")


def environment() -> dict[str, str]:
    """Of a program that a user starts: one device, and mollax importable."""
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return {**kept, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}


def test_unknown_field_on_the_real_command_line():
    command = [sys.executable, "-m", "mollax.main", "--config=configs/digits.py", "--config.optim.lrr=1"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert 'Did you mean "lr"' in done.stderr
    assert "Traceback" not in done.stderr
    assert "mollax: there is no config field 'lrr'" in done.stderr


# Importing JAX takes seconds, so one process imports it, and a fork of it answers each command line.
ANSWER = """
import json, os, sys
import mollax.main
cases, folder = json.load(sys.stdin)
codes = []
for number, arguments in enumerate(cases):
    child = os.fork()
    if not child:
        output = os.open(os.path.join(folder, str(number)), os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["mollax", *arguments]
        code = 99
        try:
            mollax.main.run()
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""
RUN = "--config=configs/digits.py --workdir=W"
MISTAKES = [
    ("--config=configs/digits.py", "give --config=FILE and --workdir=FOLDER"),
    ("--workdir=W", "give --config=FILE and --workdir=FOLDER"),
    (f"{RUN} --mode=evalute", "train_and_evaluate|evaluate"),
    (
        "--config=configs/digit.py --workdir=W",
        "no config file configs/digit.py. Did you mean configs/digits.py?",
    ),
    ("--config configs/nothing_like_it.py --workdir=W", "no config file configs/nothing_like_it.py.\n"),
    ("--config=configs/digits.py:smok", "'plain', 'smoke'; got 'smok'. Did you mean 'smoke'?"),
    ("--config=configs/digits.py --workdri=W", "flag 'workdri'. Did you mean: workdir"),
    (f"{RUN} --config.optm.lr=1", "no config field 'optm'. Did you mean \"optim\""),
    (f"{RUN} --config.model.options.patc=2", "Did you mean 'patch'"),
    (f"{RUN} --config.modl.options.patch=2", "no config field 'modl'. Did you mean \"model\""),
    (f"{RUN} --config.optim.zzzzz=1", "there is no config field 'zzzzz'."),
    (f"{RUN} --config.optim.lr=abc", "could not convert string to float: 'abc'"),
    (f"{RUN} config.optim.lr=1", "'config.optim.lr=1' is not a flag"),
    (f"{RUN} --config.train.duration=5", "train.duration must be one number with one unit"),
    (f"{RUN} --mode=evaluate", "There is no run to evaluate in"),
]


def test_command_line_mistakes(tmp_path):
    workdir = f"={tmp_path / 'run'}"
    cases = [[word.replace("=W", workdir) for word in arguments.split()] for arguments, _ in MISTAKES]
    done = subprocess.run(
        [sys.executable, "-c", ANSWER],
        input=json.dumps([cases, str(tmp_path)]),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout.splitlines()[-1])
    for number, (arguments, expected) in enumerate(MISTAKES):
        said = (tmp_path / str(number)).read_text(encoding="utf-8")
        assert expected in said, (arguments, said)
        assert "Traceback" not in said, (arguments, said)
        assert codes[number] == 2, (arguments, said)
