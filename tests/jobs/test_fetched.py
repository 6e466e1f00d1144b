"""From nothing to a tuned prompt: weights from a server on loopback, imported, tuned on."""

import pathlib

import jax
import numpy as np
import pytest

from maskgit_prompt import backbones, params
from maskgit_prompt.importers.published import PUBLISHED, Published
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.storage import cache
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt
from tests.golden_models import Case
from tests.jobs.importing import IMPORT, maskgit_files, write_torch
from tests.jobs.running import (
    FOLDER,
    QUICKSTART,
    ROOT,
    SAMPLE,
    TINY,
    TINY_CAUSAL,
    run,
    write_images,
)
from tests.serving import Answer, Server

QUICK = (
    "--config.train.steps=2",
    "--config.train.evaluate_every=0",
    "--config.train.tensorboard=False",
    "--config.score.marquee_images=0",
    "--config.score.per_class=1",
    "--config.score.rounds=1",
)
ASK = "--config.download=True"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> pathlib.Path:
    return write_images(tmp_path_factory.mktemp("data") / "photos", cats=6, dogs=6)


def serve(server: Server, *paths: str) -> dict[str, str]:
    """name -> address, of files that are served under their names; the second one breaks off."""
    found = {}
    for path in map(pathlib.Path, paths):
        body = path.read_bytes()
        found[path.name] = server.put(f"/{path.name}", Answer(body, cut=70_000), Answer(body))
    return found


def maskgit(server: Server, tmp_path, monkeypatch, name: str) -> None:
    model = Published("maskgit", serve(server, *maskgit_files(tmp_path)), "tiny", "example.org")
    monkeypatch.setitem(PUBLISHED, name, model)


def taming(server: Server, tmp_path, monkeypatch, name: str, options: Options) -> None:
    file = write_torch(tmp_path / "last.ckpt", Case("taming/net2net_tiny").parameters)
    model = Published("taming", serve(server, file), "tiny", "example.org", options)
    monkeypatch.setitem(PUBLISHED, name, model)


def prompt_of_mini(path: pathlib.Path) -> str:
    cfg = PromptConfig(kind="table", tokens=1, width=8, classes=1)
    _, init = params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    tree = jax.tree.map(np.asarray, init(jax.random.key(0)))
    tuned_on = TunedOn.of(backbones.load("mini"), PARTS)
    tuned_prompt.save(path, TunedPrompt(cfg, tree, ("a",), tuned_on, sample={}))
    return str(path)


# --- Tuning ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [256, 512])
def test_a_published_model_is_fetched_imported_and_tuned_on(
    size, photos, server, cache_home, tmp_path, monkeypatch, capsys
):
    name = f"maskgit-imagenet{size}"
    maskgit(server, tmp_path, monkeypatch, name)
    flags = (f"--config={ROOT}/configs/imagenet{size}.py:{photos}", *TINY, *QUICK)
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 2 and not cache_home.exists() and not (tmp_path / "run").exists()
    assert f"config.backbone = '{name}' (tiny) is not in the cache {cache_home}" in done.error()
    done = run(capsys, *flags, ASK, f"--workdir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    asked = len(server.asked)
    prompt = tuned_prompt.load(tmp_path / "run" / "prompt.safetensors")
    there = backbones.load(str(cache_home / "backbones" / name))
    assert (prompt.backbone.name, prompt.backbone.fingerprint) == (name, there.fingerprint(PARTS))
    assert f"--config.backbone={name}" in (tmp_path / "run" / "report.html").read_text()
    # From now on without the server: the same run, and images from its prompt.
    assert run(capsys, *flags, f"--workdir={tmp_path / 'run'}").code == 0
    file = f"--config.prompt={tmp_path / 'run' / 'prompt.safetensors'}"
    flags = (SAMPLE, file, f"--config.backbone={name}", "--config.num=1")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'more'}")
    assert (done.code, len(server.asked)) == (0, asked)


@pytest.mark.slow
def test_a_causal_model_is_fetched_imported_and_tuned_on(
    photos, server, cache_home, tmp_path, monkeypatch, capsys
):
    taming(server, tmp_path, monkeypatch, "taming-cin", Options(classes=7, heads=2))
    flags = (f"{FOLDER}:{photos},causal", "--config.backbone=taming-cin", *TINY_CAUSAL, *QUICK)
    done = run(capsys, *flags, ASK, f"--workdir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    assert tuned_prompt.load(tmp_path / "run" / "prompt.safetensors").backbone.name == "taming-cin"


@pytest.mark.parametrize(
    "flags",
    [
        (f"--config={ROOT}/configs/imagenet512.py:PHOTOS",),
        (f"{QUICKSTART},compare", "--config.backbone=maskgit-imagenet512"),
        (f"{QUICKSTART},causal", "--config.models.backbones=maskgit-imagenet512"),
        (f"--config={ROOT}/configs/vtab.py:svhn", "--config.backbone=maskgit-imagenet512"),
        (SAMPLE, "--config.prompt=PROMPT", "--config.backbone=maskgit-imagenet512"),
        (f"--config={ROOT}/configs/mini.py:transformer", "--config.backbone=maskgit-imagenet512"),
    ],
    ids=["run", "compare", "side_by_side", "vtab", "sample", "pretrain"],
)
def test_no_job_fetches_unless_asked(
    flags, photos, server, cache_home, tmp_path, vtab_data, monkeypatch, capsys
):
    maskgit(server, tmp_path, monkeypatch, "maskgit-imagenet512")
    prompt = prompt_of_mini(tmp_path / "prompt.safetensors")
    flags = [f.replace("PHOTOS", str(photos)).replace("PROMPT", prompt) for f in flags]
    if "vtab" in flags[0]:
        flags.append(f"--config.data.data_dir={vtab_data}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    key = "config.models.backbones" if "models" in flags[-1] else "config.backbone"
    assert f"{key} = 'maskgit-imagenet512' (tiny) is not in the cache {cache_home}" in done.error()
    assert (done.code, server.asked, (tmp_path / "run").exists()) == (2, [], False)


def test_a_mistyped_path_is_told_before_anything_is_fetched(
    server, cache_home, tmp_path, monkeypatch, capsys
):
    maskgit(server, tmp_path, monkeypatch, "maskgit-imagenet256")
    for config in ("imagenet256.py", "folder.py"):
        flags = (f"--config={ROOT}/configs/{config}:{tmp_path / 'phtos'}", ASK, *TINY)
        flags += ("--config.backbone=maskgit-imagenet256", f"--workdir={tmp_path / 'run'}")
        done = run(capsys, *flags)
        assert done.code == 2 and f"no folder {tmp_path / 'phtos'} (working" in done.error()
    assert server.asked == []


def test_a_login_page_ends_a_run_in_one_line(
    photos, server, cache_home, tmp_path, monkeypatch, capsys
):
    page = Answer(b"<html>Sign in</html>", headers={"Content-Type": "text/html"})
    model = Published("maskgit", {"a": server.put("/a", page)}, "tiny", "example.org")
    monkeypatch.setitem(PUBLISHED, "maskgit-imagenet256", model)
    flags = (f"--config={ROOT}/configs/imagenet256.py:{photos}", ASK, *TINY)
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 1 and not (tmp_path / "run").exists()
    assert "/a answers with a web page, such as a login; download it by hand" in done.error()


def test_a_cache_that_cannot_be_written_ends_a_run_in_one_line(
    photos, server, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(cache.ENVIRONMENT, str(tmp_path / "file"))
    maskgit(server, tmp_path, monkeypatch, "maskgit-imagenet256")
    flags = (f"--config={ROOT}/configs/imagenet256.py:{photos}", ASK, *TINY)
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 1 and "cannot write cache folder" in done.error()
    assert "choose another folder with MASKGIT_PROMPT_CACHE=FOLDER" in done.error()


# --- Importing ------------------------------------------------------------------------------------


def test_sources_at_addresses_and_by_name(server, cache_home, tmp_path, monkeypatch, capsys):
    maskgit(server, tmp_path, monkeypatch, "tiny")
    listed = ",".join(PUBLISHED["tiny"].files.values())
    for flags, name in (
        ((f"--config.source={listed}", "--config.format=maskgit"), "at-addresses"),
        (("--config.source=tiny",), "by-name"),
        (("--config.source=tiny", "--config.format=maskgit"), "by-name-and-format"),
    ):
        done = run(capsys, IMPORT, *flags, f"--workdir={tmp_path / name}")
        if name == "at-addresses":
            assert done.code == 2 and "and nothing is fetched unless you ask" in done.error()
            done = run(capsys, IMPORT, *flags, ASK, f"--workdir={tmp_path / name}")
        assert done.code == 0, done.err
    found = {backbones.load(str(tmp_path / name)).fingerprint(PARTS) for name in
             ("at-addresses", "by-name", "by-name-and-format")}  # fmt: skip
    assert len(found) == 1 and len(server.asked) == 4  # each file broke off once


def test_a_source_by_name_with_options(server, cache_home, tmp_path, monkeypatch, capsys):
    """What the user gives goes before what the table says."""
    taming(server, tmp_path, monkeypatch, "cin", Options(classes=7, heads=1))
    flags = (IMPORT, "--config.source=cin", ASK, "--config.heads=2")
    assert run(capsys, *flags, f"--workdir={tmp_path / 'model'}").code == 0
    cfg = backbones.load(str(tmp_path / "model")).part("transformer").cfg
    assert (cfg.classes, cfg.heads) == (7, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--config.source=taming-cin", "--config.format=maskgit"), "'maskgit', expected taming"),
        (
            ("--config.source=last.ckpt",),
            "config.format = '', expected convnext, inception, maskgit, maskgi",
        ),
        (
            ("--config.source=nope", "--config.format=maskgit"),
            "docs/backbones.md says what to fetch, and maskgit-imagenet256, maskgit-imagenet512, ",
        ),
        (
            ("--config.source=last.ckpt", "--config.format=maskgit", ASK),
            "config.download = True has no use with weights on this machine; it needs weights",
        ),
    ],
)
def test_sources_that_are_wrong(flags, message, cache_home, tmp_path, capsys):
    done = run(capsys, IMPORT, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 2 and message in done.error()
    assert list(tmp_path.iterdir()) == []
