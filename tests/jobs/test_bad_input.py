"""Bad input: one line that says what was found and the way out, exit code 1 or 2, nothing lost."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from maskgit_prompt import backbones
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.params import create
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt
from tests.jobs.running import FOLDER, QUICKSTART, ROOT, SAMPLE, TINY, run, write_images


def refused(capsys, code: int, message: str, *flags: str) -> None:
    done = run(capsys, *flags)
    assert message in done.error()
    assert done.code == code


# --- The command line and the config file ---------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "old", "new"),
    [
        ("quickstart.py", "config.source", "config.backbone"),
        ("quickstart.py:digits,causal", "config.models.sources", "config.models.backbones"),
    ],
)
def test_a_key_by_the_name_it_had_once(config, old, new, tmp_path, capsys):
    done = run(
        capsys, f"--config={ROOT}/configs/{config}", f"--{old}=nope", f"--workdir={tmp_path}"
    )
    assert (done.code, done.err.splitlines()[0]) == (2, f"note: {old} is called {new} now")
    assert f"{new} = 'nope': no config.json in nope" in done.error()


def test_the_import_jobs_source_is_not_a_backbone(tmp_path, capsys):
    flags = (f"--config={ROOT}/configs/import.py", "--config.source=a", "--config.foo=3")
    done = run(capsys, *flags, f"--workdir={tmp_path}")
    assert done.err == (
        f"error: --config={ROOT}/configs/import.py has no key foo; --helpfull lists the keys\n"
    )


@pytest.mark.parametrize(
    "flags, message",
    [
        ((), "no --config given, as --config=configs/quickstart.py"),
        (("--config=nope.py", "--workdir=w"), "no config file nope.py in "),
        (
            (QUICKSTART, "--config", "b.py", "--workdir=w"),
            f"--config is given twice, {ROOT}/configs/quickstart.py:digits and b.py: give one",
        ),
        ((QUICKSTART,), "no --workdir given: name a folder for the run, as --workdir=runs/my"),
        ((QUICKSTART, "--workdir=w", "--steps=3"), "Unknown command line flag 'steps'"),
        ((QUICKSTART, "--workdir=w", "now"), "unexpected argument 'now'; flags begin with --"),
        (
            (QUICKSTART, "--workdir=w", "--config.train.stepz=3"),
            "has no key train.stepz; did you mean config.train.steps?",
        ),
        ((f"--config={ROOT}/configs/import.py", "--workdir=w", "--config.x=3"), "has no key x"),
        (
            (QUICKSTART, "--workdir=w", "--config.nope.steps=3"),
            "quickstart.py:digits has no key nope",
        ),
        (
            (QUICKSTART, "--workdir=w", "--config.train.steps=many"),
            "config.train.steps = 'many', expected a whole number",
        ),
        (
            (QUICKSTART, "--workdir=w", "--config.job=dream"),
            "config.job = 'dream', expected run, classify, segment, masks, vtab, vtab_folder, "
            "side_by_side, compare, sample, sample_study, evaluate, predict, robustness, "
            "multimodal, answer, attack, sweep, pretrain, import_weights",
        ),
        (
            (f"{QUICKSTART},half", "--workdir=w"),
            "quickstart.py:digits,half, expected :full, :compare, :digits, :digits,full, ",
        ),
        (
            (f"{FOLDER}:photos,shot=3", "--workdir=w"),
            "has 'shot=3' after the path, expected shots=NUMBER, steps=NUMBER or causal",
        ),
        ((FOLDER, "--workdir=w"), "config.data.path is empty; expected a folder"),
        ((SAMPLE, "--workdir=w", "--strict"), "--strict: the job sample reads no folder of images"),
        ((SAMPLE, "--workdir=w"), "no prompt file: give --config.prompt=DIR/prompt.safetensors"),
    ],
)
def test_wrong_use(flags, message, backbone, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if any(flag.endswith("folder.py") for flag in flags):
        flags = (*flags, f"--config.backbone={backbone}")
    refused(capsys, 2, message, *flags)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = 1", "the file has no get_config(); write one that returns a ConfigDict"),
        ("def get_config(): return 3", "get_config() gave a int, not a ConfigDict"),
        ("def get_config(:", "SyntaxError: invalid syntax"),
        (
            "import nowhere_to_be_found",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("def get_config(): return 1 / 0", "ZeroDivisionError: division by zero"),
        ("def get_config(): raise ValueError('no: a, b')", "config.py: no: a, b"),
    ],
)
def test_a_config_file_that_is_none(text, message, tmp_path, capsys):
    path = tmp_path / "config.py"
    path.write_text(text)
    refused(capsys, 2, message, f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_in_a_shell_it_is_one_line_without_traceback():
    command = [sys.executable, "-m", "maskgit_prompt.main", "--config=nope.py", "--workdir=w"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no config file nope.py")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback():
    command = [sys.executable, "-m", "maskgit_prompt.main", "--config=nope.py", "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "UsageError: no config file" in done.stderr


# --- Settings that do not fit ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag, message",
    [
        (
            "--config.train.batch_size=12",
            "batch size 12 does not divide into 1 micro-batches over 8 devices (data x fsdp); use "
            "a multiple of 8",
        ),
        ("--config.sample.batch_size=9", "use a multiple of 8"),
        ("--config.mesh.fsdp=3", "does not multiply to the 8 devices here"),
        ("--config.sample.steps=0", "config.sample.steps = 0, expected at least 1"),
        ("--config.sample.top_k=25", "config.sample.top_k = 25, expected at most the codebook's"),
        ("--config.sample.sampler=jacobi", "expected plain or entropy or remasking with a masked"),
        ("--config.sample.cutoff=0", "config.sample.cutoff = 0.0, expected a number above 0"),
        ("--config.profile=299:50", "config.profile = '299:50' goes to step 349, the run has"),
        (
            "--config.masking.schedule=cosin",
            "config.masking.schedule = 'cosin', expected cosine, linear",
        ),
        ("--config.task=dream", "config.task = 'dream', expected classification, generation"),
        ("--config.sample.guidance_from=air", "guidance_from = 'air', expected prompt or backbone"),
        (
            "--config.score.marquee_cutoffs=(0.5,2.0)",
            "config.score.marquee_cutoffs = (0.5, 2.0), expected above 0, and at most 1, each",
        ),
        ("--config.score.per_class=0", "config.score.per_class = 0, expected at least 1"),
        ("--config.train.steps=-5", "config.train.steps = -5, expected at least 1"),
        ("--config.train.log_every=0", "config.train.log_every = 0, expected at least 1"),
        ("--config.train.save_every=0", "config.train.save_every = 0, expected at least 1"),
        ("--config.train.ema_decay=2", "ema_decay = 2.0, expected 0 or more, and below 1"),
        ("--config.optimizer.learning_rate=-1", "learning_rate = -1.0, expected a number above 0"),
        ("--config.optimizer.learning_rate=nan", "learning_rate = nan, expected a number above 0"),
        ("--config.optimizer.warmup_steps=9", "warmup_steps = 9, expected 0 to"),
        ("--config.dtype=float17", "config.dtype = 'float17', expected float32, bfloat16, float16"),
        (
            "--config.attention=flash",
            "config.attention = 'flash', expected auto, xla, cudnn, tokamax",
        ),
        ("--config.data.fit=squash", "config.data.fit = 'squash', expected crop, resize"),
        ("--config.attention=cudnn", "config.attention = 'cudnn' needs an NVIDIA GPU of compute"),
        ("--config.prompt.tokens=0", "config.prompt.tokens = 0, expected at least 1"),
        ("--config.prompt.dropout=1.5", "dropout = 1.5, expected 0 or more, and below 1"),
        ("--config.trainable=('foo/.*',)", "'foo/.*' matches no parameter"),
        (
            "--config.trainable=transformer/blocks/.*[-3:]",
            "config.trainable: 'transformer/blocks/.*[-3:]' is out of range: ",
        ),
        (
            "--config.trainable=transformer/words[-1:]",
            "takes layers of transformer/words, which has no axis of layers",
        ),
        ("--config.train.show_every=-1", "config.train.show_every = -1, expected 0 or more"),
        ("--config.profile=20", "config.profile = '20', expected START:STEPS such as 20:5"),
        ("--config.optimizer.name=lion", "config.optimizer.name = 'lion', expected adamw or sgd"),
        ("--config.optimizer.momentum=1", "momentum = 1.0, expected 0 or more, and below 1"),
        ("--config.optimizer.rates=words", "rates has 'words', expected PATTERN=VALUE"),
        ("--config.optimizer.decays=word=1", "decays: 'word' matches no parameter; they begin"),
        ("--config.prompt.kind=soft", "config.prompt.kind = 'soft', expected table, additive"),
        (
            "--config.data.name=faces",
            "config.data.name = 'faces', expected digits, twemoji, folder, tfds, vtab",
        ),
        ("--config.data.fractions.test=0.9", "expected shares above 0, together at most 1"),
    ],
)
def test_settings_are_refused_before_any_work(flag, message, backbone, tmp_path, capsys):
    home = tmp_path / "run"
    flags = (QUICKSTART, f"--config.backbone={backbone}", *TINY, flag, f"--workdir={home}")
    refused(capsys, 2, message, *flags)
    assert not home.exists()  # so that the corrected command may use it


def test_tokenizer_of_an_image_size_that_its_factor_does_not_divide(backbone, tmp_path, capsys):
    message = "image_size 18 does not divide by the tokenizer's factor 4; use a multiple of 4"
    edited = shutil.copytree(backbone, tmp_path / "edited")
    config = json.loads((edited / "config.json").read_text())
    del config["sha256"]
    config["parts"]["tokenizer"]["config"]["image_size"] = 18
    (edited / "config.json").write_text(json.dumps(config))
    flags = (QUICKSTART, f"--config.backbone={edited}", f"--workdir={tmp_path / 'run'}")
    refused(capsys, 1, message, *flags)
    mini = f"--config={ROOT}/configs/mini.py:tokenizer"
    flags = (mini, "--config.tokenizer.image_size=18", "--config.data.num=8")
    refused(capsys, 2, message, *flags, f"--workdir={tmp_path / 'mini'}")


# --- Images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, code, message",
    [
        (lambda path: None, 2, "no folder "),
        (lambda path: path.write_text("x"), 2, "is a file: expected a folder of images"),
        (lambda path: path.mkdir(), 1, "no images in "),
        (
            lambda path: (write_images(path, cat=2) / "dog").mkdir(),
            1,
            "class 'dog' has no images (",
        ),
        (
            lambda path: (write_images(path, cat=1) / "cat" / "0.png").write_text("x"),
            1,
            "class 'cat' has no images left: all its files are broken, the first is cat/0.png",
        ),
    ],
    ids=["missing", "a file", "empty", "empty class", "all broken"],
)
def test_folders(make, code, message, backbone, tmp_path, capsys):
    make(tmp_path / "photos")
    flags = (f"{FOLDER}:{tmp_path / 'photos'}", f"--config.backbone={backbone}", *TINY)
    refused(capsys, code, message, *flags, f"--workdir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


# --- Workdirs -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_workdir_of_another_config_keeps_what_is_there(backbone, tmp_path, capsys):
    photos, home = write_images(tmp_path / "photos", flat=1), tmp_path / "run"
    flags = (f"{FOLDER}:{photos}", f"--config.backbone={backbone}", *TINY, f"--workdir={home}")
    flags = (*flags, "--config.score.marquee_images=0")
    assert run(capsys, *flags).code == 0
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    refused(
        capsys,
        2,
        f"workdir {home} holds a run of another config: optimizer.learning_rate is 0.01 there, 0.5 "
        "now; use another --workdir, or delete that one",
        *flags,
        "--config.optimizer.learning_rate=0.5",
    )
    prompt = f"--config.prompt={home / 'prompt.safetensors'}"
    again = (SAMPLE, prompt, f"--config.backbone={backbone}", f"--workdir={home}")
    refused(capsys, 2, "another config: job is 'run' there, 'sample' now; ", *again)
    assert before == {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_workdir_is_a_file(backbone, tmp_path, capsys):
    (tmp_path / "run").write_text("mine")
    flags = (QUICKSTART, f"--config.backbone={backbone}", *TINY, f"--workdir={tmp_path / 'run'}")
    message = f"workdir {tmp_path / 'run'} is a file, expected a folder; use another --workdir"
    refused(capsys, 2, message, *flags)
    assert (tmp_path / "run").read_text() == "mine"


def test_workdir_whose_config_is_damaged(backbone, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"job": ')
    flags = (QUICKSTART, f"--config.backbone={backbone}", *TINY, f"--workdir={tmp_path / 'run'}")
    refused(capsys, 1, "config.json is damaged", *flags)


# --- Backbones and prompt files ---------------------------------------------------------------


def test_backbone_that_is_not_there(tmp_path, capsys):
    flags = (QUICKSTART, f"--config.backbone={tmp_path / 'none'}", f"--workdir={tmp_path / 'run'}")
    refused(
        capsys,
        2,
        f"no config.json in {tmp_path / 'none'}; expected mini64, mini, mini-causal, mini-vit, ",
        *flags,
    )


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda s: os.truncate(s / "transformer.safetensors", 1000), "it is damaged or of another"),
        (lambda s: (s / "tokenizer.safetensors").unlink(), "No such file or directory; fetch it"),
        (lambda s: os.truncate(s / "config.json", 100), "config.json is damaged"),
        (lambda s: _replace(s / "config.json", '"width": 16', '"width": 32'), "does not fit the"),
        (lambda s: _replace(s / "config.json", '"masked"', '"mask"'), "is damaged (KeyError('mask"),
        (lambda s: _replace(s / "config.json", '"vq"', '"masked"'), "'tokenizer of kind masked'"),
    ],
    ids=[
        "truncated",
        "part missing",
        "config truncated",
        "width edited",
        "kind edited",
        "kind of another part",
    ],
)
def test_backbone_truncated_or_edited(edit, message, backbone, tmp_path, capsys):
    copy = shutil.copytree(backbone, tmp_path / "copy")
    edit(copy)
    flags = (QUICKSTART, f"--config.backbone={copy}", f"--workdir={tmp_path / 'run'}")
    refused(capsys, 1, message, *flags)


def _replace(path: pathlib.Path, old: str, new: str) -> None:
    """In a file without its checksum."""
    text = re.sub(r',\s*"sha256": "\w+"\s*}\s*$', "}", path.read_text())
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def prompt(backbone, tmp_path) -> pathlib.Path:
    """An untuned prompt file of the tiny backbone."""
    path, backbone = tmp_path / "prompt.safetensors", backbones.load(backbone)
    cfg = PromptConfig(kind="table", tokens=1, width=16, classes=2)
    _, init = create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    tree = jax.tree.map(np.asarray, init(jax.random.key(0)))
    prompt = TunedPrompt(cfg, tree, ("a", "b"), TunedOn.of(backbone, PARTS), sample={"steps": 1})
    tuned_prompt.save(path, prompt)
    return path


def test_prompt_file_that_is_missing_truncated_or_another_file(prompt, backbone, tmp_path, capsys):
    flags = (SAMPLE, f"--config.backbone={backbone}", f"--workdir={tmp_path / 'run'}")
    refused(capsys, 2, f"no prompt file {tmp_path}", *flags, f"--config.prompt={tmp_path}")
    weights = f"--config.prompt={backbone}/tokenizer.safetensors"
    refused(capsys, 1, "is a safetensors file but holds no prompt", *flags, weights)
    for size in (4, 200, prompt.stat().st_size - 1):
        cut = tmp_path / f"{size}.safetensors"
        cut.write_bytes(prompt.read_bytes()[:size])
        refused(capsys, 1, f"{cut} is damaged or cut short", *flags, f"--config.prompt={cut}")
    edited = tmp_path / "edited.safetensors"
    edited.write_bytes(prompt.read_bytes().replace(b"tokens", b"takens"))
    refused(capsys, 1, "its checksum does not hold", *flags, f"--config.prompt={edited}")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"format"', '"farmot"', "has a damaged header (KeyError('format'))"),
        ('"tokens"', '"takens"', "has a damaged header (TypeError("),
        ('"tokens": 1', '"tokens": 2', "does not fit the model"),
        ('"format": 1', '"format": 9', "has format 9, this version reads 1; update maskgit_prompt"),
        ('["a", "b"]', '["a"]', "damaged header (1 names for 2 classes)"),
        ('"instances": []', '"instances": ["x"]', "damaged header (1 names for 0 instances)"),
        ("{", "", "has a damaged header (JSONDecodeError("),
    ],
)
def test_prompt_file_whose_header_says_something_else(
    old, new, message, prompt, backbone, tmp_path, capsys
):
    """Of files without a checksum, as earlier versions wrote them."""
    with safetensors.safe_open(prompt, "numpy") as file:
        text = file.metadata()["maskgit_prompt"]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert old in text
    edited = tmp_path / "edited.safetensors"
    safetensors.numpy.save_file(tensors, edited, {"maskgit_prompt": text.replace(old, new, 1)})
    flags = (SAMPLE, f"--config.backbone={backbone}", f"--workdir={tmp_path / 'run'}")
    refused(capsys, 1, message, *flags, f"--config.prompt={edited}")


def test_prompt_file_of_numbers_that_are_not_finite(prompt, backbone, tmp_path, capsys):
    loaded = tuned_prompt.load(prompt)
    tree = jax.tree.map(
        lambda x: np.where(np.arange(x.size).reshape(x.shape), x, np.nan), loaded.tree
    )
    tuned_prompt.save(prompt, dataclasses.replace(loaded, tree=tree))
    flags = (SAMPLE, f"--config.backbone={backbone}", f"--workdir={tmp_path / 'run'}")
    message = f"{prompt} holds NaN or infinite numbers in "
    refused(capsys, 1, message, *flags, f"--config.prompt={prompt}")


def test_prompt_of_another_backbone_names_both(prompt, backbone, tmp_path, capsys):
    model = backbones.load(backbone)
    part = model.parts["transformer"]
    part = dataclasses.replace(part, tree=jax.tree.map(lambda x: x.read() + 1, part.tree))
    other = str(tmp_path / "other")
    backbones.save(dataclasses.replace(model, parts={**model.parts, "transformer": part}), other)
    found, expected = (backbones.load(name).fingerprint(PARTS) for name in (backbone, other))
    assert found != expected
    flags = (SAMPLE, f"--config.backbone={other}", f"--config.prompt={prompt}")
    message = (
        f"{prompt} was tuned on 'tiny' with fingerprint {found}, but config.backbone is 'tiny' "
        f"with fingerprint {expected}; use the backbone it was tuned on"
    )
    refused(capsys, 1, message, *flags, f"--workdir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()
