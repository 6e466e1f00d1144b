"""--help and --helpfull: configs, keys, defaults and their meanings, without JAX, at once."""

import pathlib
import re
import subprocess
import sys
import time

import pytest

import maskgit_prompt
from maskgit_prompt import main
from maskgit_prompt.config import defaults, keys, manual

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("flag", ["--help", "-h", "-help"])
def test_help_lists_the_configs_and_says_where_keys_are_documented(flag, capsys):
    assert main.main(["main", flag]) == 0
    out = capsys.readouterr().out
    for path in (ROOT / "configs").glob("*.py"):
        [line] = re.findall(rf"^  configs/{path.name} +(\S.*)$", out, re.M)
        assert path.read_text().startswith(f'"""{line}')
    assert "docs/configuration.md" in out and "--helpfull" in out
    assert max(map(len, out.splitlines())) <= 125


def test_version(capsys):
    assert main.main(["main", "--version"]) == 0
    assert capsys.readouterr().out == f"maskgit_prompt {maskgit_prompt.__version__}\n"


def test_help_takes_less_than_a_second():
    began = time.perf_counter()
    code = (
        "import sys, maskgit_prompt.main as m; m.main(['', '--help']); print('jax' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert out.endswith("False\n")
    assert time.perf_counter() - began < 3  # 0.2 s on a machine that does nothing else


def test_every_key_of_every_job_is_listed_with_its_default(capsys):
    assert main.main(["main", "--helpfull"]) == 0
    out = capsys.readouterr().out
    for make in defaults.JOBS.values():
        for key, value in keys.flat(make()).items():
            assert f"  --config.{key}={value!r}\n" in out


def test_a_value_that_a_prompt_file_gives_is_said_to_be_so(capsys):
    assert main.main(["main", "--helpfull"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = "      number of decoding steps. None: as in the prompt file."
    assert lines[lines.index("  --config.sample.steps=None") + 1] == said
    said = "      number of decoding steps"
    assert lines[lines.index("  --config.sample.steps=12") + 1] == said


def test_the_keys_of_a_file_are_its_own(capsys):
    assert main.main(["main", "--helpfull", f"--config={ROOT}/configs/mini.py:tokenizer"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{ROOT}/configs/mini.py:tokenizer, job pretrain:\n")
    assert "\n  --config.tokenizer.codebook=512\n" in out and "data.shots" not in out
    assert main.main(["main", "--helpfull", "--config=nope.py"]) == 2
    assert capsys.readouterr().err.startswith("error: no config file nope.py")


@pytest.mark.parametrize(
    ("job", "key", "meaning"),
    [
        ("run", "train.epochs", "above 0: times through the images, but no more than train.steps"),
        (
            "run",
            "backbone",
            "An embedded or published model's name, or a backbone's folder or address; empty: the",
        ),
        ("run", "sample.temperature", "temperature of the codes; 0: always the most likely code"),
        ("sample", "sample.temperature", "temperature of the codes; 0: always"),
        ("run", "mesh.data", "devices along which batches are split; -1: all that remain"),
        ("run", "mesh.fsdp", "devices along which batches and frozen weights are split"),
        ("run", "data.fractions.judge", "share of each class that trains the judge"),
        ("pretrain", "score.most", "the most held-out images that are scored"),
        ("sample", "prompt", "the prompt.safetensors of a run"),
        ("vtab", "steps", "Steps of every task; 0: train.epochs and train.steps decide"),
        ("compare", "compare.shots", "images per class; config.data.shots is not used"),
        ("import_weights", "heads", "Number of heads of a causal transformer"),
    ],
)
def test_meanings_are_the_comments_beside_the_defaults(job, key, meaning):
    assert manual.meanings(job)[key].startswith(meaning)


@pytest.mark.parametrize("job", defaults.JOBS)
def test_every_key_has_a_meaning(job):
    known = keys.flat(defaults.JOBS[job]())
    found = manual.meanings(job)
    assert [key for key in known if not manual.of_key(key, found)] == []
