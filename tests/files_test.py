"""What the tree looks like: sizes, docstrings, tests, versions, nothing that is tied to one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import mollax

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "mollax").rglob("*.py"))
HARD_LIMIT, SOFT_LIMIT = 400, 250
GENERATED = {".git", ".venv", "venv", "__pycache__", "build", "dist", "runs", "node_modules", ".hypothesis"}
# The look-behind leaves addresses and paths inside other folders alone.
MACHINE_PATH = re.compile(r"(?<![\w.~$}*-])/(?:root|home|work|Users|mnt|tmp|opt|data|scratch)/\w")
PACKAGE_SOURCE = re.compile(
    r"--(?:extra-)?index-url|--find-links|pypi\.org/simple|download\.pytorch\.org|@ ?(?:https?|file|git\+)"
)


def tracked() -> list[Path]:
    """Files that git would commit; without git, all but generated ones."""
    try:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        files = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        files = list(ROOT.rglob("*"))
    kept = [file for file in files if file.is_file() and not GENERATED & set(file.relative_to(ROOT).parts)]
    assert len(kept) > 50, f"{ROOT} does not look like the repository"
    return kept


def text_of(file: Path) -> str:
    """Content of a text file; "" for a picture or an archive."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_a_file_holds_one_idea():
    lengths = {
        str(module.relative_to(ROOT)): len(module.read_text(encoding="utf-8").splitlines()) for module in MODULES
    }
    over = {name: lines for name, lines in lengths.items() if lines > HARD_LIMIT}
    assert not over, f"over {HARD_LIMIT} lines: {over}"
    long = {name: lines for name, lines in lengths.items() if lines > SOFT_LIMIT}
    mean = sum(lengths.values()) / len(lengths)
    print(f"\n{len(lengths)} files, mean {mean:.0f} lines; over the soft limit of {SOFT_LIMIT}: {long}")
    assert mean <= SOFT_LIMIT * 0.75, f"mean {mean:.0f} lines; the longest: {long}"
    assert len(long) <= 0.15 * len(lengths), f"too many files over the soft limit of {SOFT_LIMIT} lines: {long}"


def test_every_module_has_a_docstring():
    folders = ("mollax", "configs", "tests", "benchmarks")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    trees = {str(file.relative_to(ROOT)): ast.parse(file.read_text(encoding="utf-8")) for file in files}
    missing = [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)]
    assert not missing


def test_every_module_has_a_test():
    tests = [test.name for test in (ROOT / "tests").glob("*_test.py")]
    missing = []
    for module in MODULES:
        if module.name == "__init__.py":
            continue
        name = "_".join(module.relative_to(ROOT / "mollax").with_suffix("").parts)
        if not any(test.startswith(name) for test in tests):
            missing.append(f"tests/{name}_test.py")
    assert not missing


def test_nothing_is_tied_to_one_machine():
    wrong = []
    for file in tracked():
        for number, line in enumerate(text_of(file).splitlines(), 1):
            if MACHINE_PATH.search(line) or PACKAGE_SOURCE.search(line):
                wrong.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    allowed = f"{Path(__file__).relative_to(ROOT)}:"
    assert not [line for line in wrong if not line.startswith(allowed)]


def test_machine_patterns_can_match():
    for line in ('open("/root/x")', "cd /home/me/mollax", "path=/work/shared/data"):
        assert MACHINE_PATH.search(line)
    for line in (
        "https://example.org/home/page",
        "runs/tmp/x",
        '"/no/such/folder"',
        "a ~/data/set",
        'f"{folder}/data/x"',
    ):
        assert not MACHINE_PATH.search(line)
    assert PACKAGE_SOURCE.search("pip install --extra-index-url https://x")
    assert PACKAGE_SOURCE.search("torch @ https://x/y.whl")


def test_no_large_files():
    large = {str(file.relative_to(ROOT)): size for file in tracked() if (size := file.stat().st_size) > 1_000_000}
    assert not large


def canonical(name: str) -> str:
    """A package name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_are_exact_versions_of_all_dependencies():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    wrong = [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)]
    assert not wrong, "constraints.txt holds name==version lines only"
    names = [line.partition("==")[0] for line in pins]
    assert names == sorted(set(names))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert {"test", "dev", "bench", "tf", "cuda", "tpu"} <= set(extras)
    wanted = {
        canonical(re.match(r"[\w.-]+", requirement)[0])
        for requirement in [*project["dependencies"], *extras["test"], *extras["dev"]]
    } - {"mollax"}
    assert wanted <= set(names), f"not pinned: {sorted(wanted - set(names))}"
    assert "tfp-nightly" in names, "distrax brings a nightly build; it has to stand still"
    assert not {"torch", "tensorflow"} & set(names), "these differ between machines and are optional"


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert project["version"] == mollax.__version__ == headings[1]
    assert project["scripts"]["mollax"] == "mollax.main:run"
    assert "Apache License" in (ROOT / project["license-files"][0]).read_text(encoding="utf-8")
