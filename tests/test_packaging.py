"""What is installed, what is needed for it, and what starting costs."""

import ast
import importlib.metadata
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "maskgit_prompt"


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def python(*args: str, cwd: pathlib.Path = ROOT) -> str:
    done = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_main_starts_without_jax_and_tensorflow():
    code = "import sys, maskgit_prompt.main; print(*sys.modules)"
    loaded = set(python("-c", code).split())
    assert "maskgit_prompt.main" in loaded
    assert not loaded & {"jax", "flax", "tensorflow", "clu", "matplotlib", "sklearn"}


def test_help_needs_neither_jax_nor_tensorflow():
    code = (
        "import sys; from maskgit_prompt.main import main; code = main(['main', '--help']);"
        " print('loaded', code, 'jax' in sys.modules, 'tensorflow' in sys.modules)"
    )
    out = python("-c", code)
    assert "--config=configs/quickstart.py" in out
    assert out.splitlines()[-1] == "loaded 0 False False"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> pathlib.Path:
    """A copy of what a build reads, with a small backbone, and the metadata made of it."""
    home = tmp_path_factory.mktemp("build")
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "requirements.txt", "README.md"):
        shutil.copy(ROOT / name, home)
    shutil.copy(ROOT / "LICENSE", home)
    ignore = shutil.ignore_patterns("__pycache__", "embedded")
    shutil.copytree(PACKAGE, home / "maskgit_prompt", ignore=ignore)
    shutil.copytree(ROOT / "configs", home / "configs", ignore=ignore)
    model = home / "maskgit_prompt" / "backbones" / "embedded" / "mini"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "tokenizer.safetensors").write_bytes(b"weights")
    python("setup.py", "-q", "egg_info", cwd=home)
    python("setup.py", "-q", "build_py", "--build-lib", "wheel", cwd=home)
    return home


def test_setup_reads_requirements(built):
    text = (built / "maskgit_prompt.egg-info" / "requires.txt").read_text()
    always, _, extras = text.partition("\n\n[")
    found = {Requirement(line) for line in always.splitlines()}
    assert found == {r for r in requirements() if r.marker is None}
    assert "tpu]\njax[tpu]<0.11,>=0.10.2" in extras
    assert "cuda]\njax[cuda13]<0.11,>=0.10.2" in extras
    assert "tokamax]\ntokamax<0.0.13,>=0.0.12" in extras
    assert re.search(r"dev\]\n(.+\n)*pytest", extras)


def test_embedded_backbones_are_in_the_wheel(built):
    model = built / "wheel" / "maskgit_prompt" / "backbones" / "embedded" / "mini"
    assert (model / "config.json").read_text() == "{}"
    assert (model / "tokenizer.safetensors").read_bytes() == b"weights"
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    packed = {
        path.relative_to(built / "wheel" / "maskgit_prompt")
        for path in built.rglob("wheel/**/*.py")
    }
    assert packed == modules
    assert not (built / "wheel" / "tests").exists()


def test_the_source_archive_can_be_installed(built):
    listed = (built / "maskgit_prompt.egg-info" / "SOURCES.txt").read_text().splitlines()
    # setup.py reads the first two: without them an archive cannot be installed.
    for name in ("requirements.txt", "README.md", "LICENSE", "configs/quickstart.py"):
        assert name in listed
    assert "maskgit_prompt/backbones/embedded/mini/tokenizer.safetensors" in listed
    assert "maskgit_prompt/jobs/run.py" in listed


def test_console_command_is_main(built):
    text = (built / "maskgit_prompt.egg-info" / "entry_points.txt").read_text()
    assert "maskgit-prompt = maskgit_prompt.main:cli" in text


def imports_of(path: pathlib.Path) -> set[str]:
    """Top names of all imports in a file, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def test_what_is_imported_is_required():
    imported = set().union(*(imports_of(path) for path in PACKAGE.rglob("*.py")))
    foreign = imported - sys.stdlib_module_names - {"maskgit_prompt"}
    assert {"jax", "flax", "numpy", "PIL", "sklearn", "clu"} <= foreign
    normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()
    declared = {normal(r.name) for r in requirements()}
    distributions = importlib.metadata.packages_distributions()
    missing = {
        name
        for name in foreign
        if not declared & {normal(d) for d in distributions.get(name, (name,))}
    }
    assert missing == {"tokamax"}  # of an extra, imported where it is asked for


def test_what_the_stack_forgets_is_required():
    declared = {r.name for r in requirements()}
    assert {"importlib_resources", "tensorboard", "tensorflow", "tensorflow-datasets"} <= declared


def test_this_environment_lies_in_the_tested_ranges():
    outside = []
    for requirement in requirements():
        if requirement.marker is not None:  # TensorFlow: either build of it serves
            continue
        version = importlib.metadata.version(requirement.name)
        if not requirement.specifier.contains(version):
            outside.append(f"{requirement.name} {version}, expected {requirement.specifier}")
    assert outside == []


def test_a_bug_ends_the_command_though_a_thread_waits():
    code = (
        "import threading, maskgit_prompt.main as m\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "def broken(argv=None): raise ZeroDivisionError('a bug')\n"
        "m.main = broken\n"
        "m.cli()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 1 and b"ZeroDivisionError: a bug" in done.stderr
