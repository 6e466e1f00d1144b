"""Checkpoints in the published formats through the command, to what the references compute."""

import errno
import json
import os
import pathlib
import pickle
import signal

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx, serialization, traverse_util

from maskgit_prompt import backbones, params
from maskgit_prompt.models.masked import MaskedConfig
from maskgit_prompt.models.prompt import PromptGenerator
from maskgit_prompt.models.tokenizer import TokenizerConfig
from maskgit_prompt.storage import files as whole
from maskgit_prompt.storage import safetensors_stream, sniff
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_prompt import TunedOn
from tests.golden_models import Case, close
from tests.importers.pytorch_files import Call, tensor, write_zip
from tests.importers.test_maskgit_torch import state_dict
from tests.jobs.running import ROOT, run

IMPORT = f"--config={ROOT}/configs/import.py"
LAYER, STACK = 1e-5, 1e-4  # DESIGN.md: relative to the output's largest value


def write_flax(path: pathlib.Path, flat: dict, **beside) -> str:
    tree = traverse_util.unflatten_dict(flat, sep="/")
    path.write_bytes(serialization.msgpack_serialize(tree | beside))
    return str(path)


def write_torch(path: pathlib.Path, flat: dict, **beside) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_zip(path, {"state_dict": {name: tensor(x) for name, x in flat.items()}, **beside})
    return str(path)


def module(folder: pathlib.Path, name: str):
    """A part of a backbone's folder, as a network."""
    part = backbones.load(str(folder)).part(name)
    return nnx.merge(part.graphdef(), _read(part.tree))


def _read(tree):
    return params.unflatten(
        {path: jnp.asarray(x.read()) for path, x in params.flatten(tree).items()}
    )


def fingerprint(folder: pathlib.Path) -> str:
    return backbones.load(str(folder)).fingerprint(PARTS)


def imported(capsys, tmp_path, kind: str, files: str, *flags: str) -> pathlib.Path:
    folder = tmp_path / "model"
    done = run(
        capsys,
        IMPORT,
        f"--config.format={kind}",
        f"--config.source={files}",
        f"--workdir={folder}",
        *flags,
    )
    assert done.code == 0, done.err
    return folder


def maskgit_files(tmp_path: pathlib.Path) -> list[str]:
    return [
        write_flax(tmp_path / f"{name}_checkpoint", Case(f"maskgit/{name}_tiny").parameters)
        for name in ("tokenizer", "transformer")
    ]


def test_maskgit(capsys, tmp_path):
    folder = imported(capsys, tmp_path, "maskgit", ",".join(maskgit_files(tmp_path)))
    case = Case("maskgit/tokenizer_tiny")
    tokenizer = module(folder, "tokenizer")
    assert tokenizer.cfg.image_size == 64  # 16 codes of 16 pixels
    images = jnp.float32(case["in_image"]) / 255
    close(tokenizer.features(images), case["out_features"], STACK)
    np.testing.assert_array_equal(
        tokenizer.encode(images), case["out_indices"].reshape(len(images), -1)
    )
    case = Case("maskgit/transformer_tiny")
    transformer = module(folder, "transformer")
    assert (transformer.cfg.codebook, transformer.cfg.classes) == (64, 10)
    ids = case["in_ids"]
    classes = np.where(ids[:, 0] < 0, -1, ids[:, 0] - 64)
    logits = transformer(ids[:, 1:], class_ids=classes)
    np.testing.assert_allclose(logits, case["out_logits"], rtol=0, atol=2e-5)


def test_one_file_after_the_other_gives_the_same(capsys, tmp_path):
    files = maskgit_files(tmp_path)
    both = imported(capsys, tmp_path / "both", "maskgit", ",".join(files))
    for file in files:
        one = imported(capsys, tmp_path / "one", "maskgit", file)
    for name in ("tokenizer.safetensors", "transformer.safetensors"):
        assert (one / name).read_bytes() == (both / name).read_bytes()
    assert fingerprint(one) == fingerprint(both)
    again = run(
        capsys, IMPORT, "--config.format=maskgit", f"--config.source={files[0]}", f"--workdir={one}"
    )
    assert (again.code, "these very files already" in again.out) == (0, True)


@pytest.mark.parametrize("name", ["cond_transformer_tiny", "cond_transformer_tiny_hidden_size"])
def test_prompt_of_generative_transfer(name, capsys, tmp_path):
    case = Case(f"maskgit/{name}")
    config, prompt = case.config, case.config["prompt"]
    backbone = tmp_path / "backbone"
    backbones.save(_random_backbone(config), backbone)
    inside = {f"model_state/{name}": x for name, x in case.parameters.items() if "/prompt_" in name}
    checkpoint = write_flax(
        tmp_path / "checkpoint_3",
        inside,
        step=3,
        optimizer_state={"0": {"mu": {"a": np.zeros(2, np.float32)}}, "1": None},
    )
    folder = imported(capsys, tmp_path, "maskgit", checkpoint, f"--config.backbone={backbone}")
    found = tuned_prompt.load(folder / "prompt.safetensors")
    assert found.classes == tuple(str(i) for i in range(prompt["num_classes"]))
    assert found.backbone == TunedOn.of(backbones.load(str(backbone)), PARTS)
    graphdef, _ = params.create(lambda rngs: PromptGenerator(found.config, rngs=rngs))
    tokens = nnx.merge(graphdef, found.tree)(case["in_labels"].reshape(-1))
    close(tokens[:, 0], case["out_prompts"], LAYER)


def _random_backbone(config: dict) -> backbones.Backbone:
    tokenizer = TokenizerConfig(
        image_size=8, codebook=4, embedding=2, filters=4, multipliers=(1, 1), blocks=1, groups=2
    )
    transformer = MaskedConfig(
        codebook=4, classes=2, length=16, width=config["hidden_size"], layers=1, heads=2, mlp=8
    )
    parts = {}
    for name, kind, cfg in (("tokenizer", "vq", tokenizer), ("transformer", "masked", transformer)):
        _, init = params.create(backbones.make_module(kind, cfg))
        parts[name] = backbones.Part(kind, cfg, init(0))
    return backbones.Backbone("random", parts)


def test_prompt_needs_its_backbone(capsys, tmp_path):
    case = Case("maskgit/cond_transformer_tiny")
    inside = {name: x for name, x in case.parameters.items() if "/prompt_" in name}
    flags = (
        IMPORT,
        "--config.format=maskgit",
        f"--config.source={write_flax(tmp_path / 'checkpoint_3', inside)}",
        f"--workdir={tmp_path / 'prompt'}",
    )
    done = run(capsys, *flags)
    assert done.code == 2 and "give --config.backbone=FOLDER" in done.error()
    done = run(capsys, *flags, "--config.backbone=mini")
    assert done.code == 1
    assert "prompts of width 32, but the transformer of mini has 192" in done.error()
    assert not (tmp_path / "prompt").exists()


def test_taming(capsys, tmp_path):
    case = Case("taming/net2net_tiny")
    mask = np.ones((1, 1, 16, 16), np.float32)
    logs = tmp_path / "2021-04-03_cin"
    write_torch(
        logs / "checkpoints" / "last.ckpt",
        {
            **case.parameters,
            "transformer.blocks.0.attn.mask": mask,
            "transformer.blocks.1.attn.mask": mask,
            "first_stage_model.loss.logvar": np.zeros(1, np.float32),
        },
        global_step=7,
        optimizer_states=[{"state": {0: {"exp_avg": tensor(np.zeros(3, np.float32))}}}],
    )
    (logs / "configs").mkdir()
    (logs / "configs" / "2021-04-03-project.yaml").write_text(
        "model:\n  params:\n    transformer_config: {params: {n_head: 2, n_layer: 2}}\n"
        "    cond_stage_config: {params: {n_classes: 7}}\n"
        "    first_stage_config: {params: {ddconfig: {resolution: 64}}}\n"
    )
    folder = imported(capsys, tmp_path, "taming", str(logs))
    transformer, tokenizer = module(folder, "transformer"), module(folder, "tokenizer")
    assert (transformer.cfg.heads, transformer.cfg.classes) == (2, 7)
    tokens = case["out_tokens"]
    logits = transformer.code_logits(tokens, class_ids=case["in_class"])
    close(logits, case["out_logits"], STACK)
    side = int(tokens.shape[1] ** 0.5)
    pixels = tokenizer.decode(case["out_greedy_tokens"].reshape(-1, side * side))
    expected = (np.moveaxis(case["out_greedy_image"], 1, -1) + 1) / 2  # NCHW in [-1, 1]
    close(pixels, expected, STACK)


def test_taming_tokenizer_alone(capsys, tmp_path):
    case = Case("taming/vqgan_f16_tiny")
    file = write_torch(tmp_path / "last.ckpt", case.parameters)
    folder = imported(capsys, tmp_path, "taming", file, "--config.image_size=64")
    tokenizer = module(folder, "tokenizer")
    images = (jnp.moveaxis(case["in_image"], 1, -1) + 1) / 2  # NCHW in [-1, 1]
    codes = tokenizer.encode(images)
    np.testing.assert_array_equal(codes.reshape(-1), case["out_indices"])


def break_file(tmp_path: pathlib.Path, how: str) -> str:
    """A transformer's checkpoint that something is wrong with."""
    flat = dict(Case("maskgit/transformer_tiny").parameters)
    dense = "params/MlmLayer_0/mlm_dense/kernel"
    path = tmp_path / "checkpoint"
    if how == "extra":
        flat["params/TransformerLayer_3/Mlp_0/layer_output/bias"] = np.zeros(32, np.float32)
        flat["params/Head_0/bias"] = np.zeros(3, np.float32)
    elif how == "renamed":
        flat["params/MlmLayer_0/mlm_dance/kernel"] = flat.pop(dense)
    elif how == "misshapen":
        flat[dense] = flat[dense][:, :31]
    elif how == "nan":
        flat[dense] = np.where(np.arange(32) == 3, np.nan, flat[dense]).astype(np.float32)
    elif how == "other model":
        flat = {"params/a/b": flat[dense]}
    write_flax(path, flat)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif how == "web page":
        path.write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    elif how == "pickle":
        path.write_bytes(pickle.dumps(flat))
    return str(path)


@pytest.mark.parametrize(
    "how, messages",
    [
        (
            "extra",
            [
                "Head_0/bias (3,) is unexpected",
                "params/TransformerLayer_3/Mlp_0/layer_output/bias (32,) is unexpected",
            ],
        ),
        (
            "renamed",
            [
                "mlm_dance/kernel (32, 32) is unexpected",
                "params/MlmLayer_0/mlm_dense/kernel is missing",
            ],
        ),
        ("misshapen", ["params/MlmLayer_0/mlm_dense/kernel has shape (32, 31), expected (32, 32)"]),
        ("nan", ["(transformer): params/MlmLayer_0/mlm_dense/kernel holds NaN or infinite"]),
        ("other model", ["holds no network of MaskGIT"]),
        ("truncated", ["checkpoint"]),
        ("web page", ["a web page"]),
        ("pickle", ["is a pickle"]),
    ],
)
def test_bad_file(how, messages, capsys, tmp_path):
    file = break_file(tmp_path, how)
    folder = tmp_path / "model"
    done = run(
        capsys,
        IMPORT,
        "--config.format=maskgit",
        f"--config.source={file}",
        "--config.codebook=64",
        f"--workdir={folder}",
    )
    assert done.code == 1
    error = done.error()
    assert all(message in error for message in messages), error
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_file_that_wants_to_run_code(capsys, tmp_path):
    path = tmp_path / "last.ckpt"
    write_zip(path, {"state_dict": {}, "evil": Call("os.system", "touch ran")})
    done = run(
        capsys,
        IMPORT,
        "--config.format=taming",
        f"--config.source={path}",
        f"--workdir={tmp_path / 'model'}",
    )
    assert done.code == 1 and "os.system" in done.error()
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ("--config.format=gan",),
            "config.format = 'gan', expected maskgit, maskgit-torch, taming",
        ),
        (("--config.format=maskgit",), "config.source is empty; give a checkpoint"),
        (("--config.format=maskgit", "--config.source=nope"), "config.source: no file 'nope'"),
        (
            ("--config.format=maskgit", "--config.image_size=-64"),
            "config.image_size = -64, expected 0",
        ),
        (
            ("--config.format=maskgit", "--config.store_dtype=int8"),
            "config.store_dtype = 'int8', expected float32, float16, bfloat16",
        ),
    ],
)
def test_wrong_use(flags, message, capsys, tmp_path):
    done = run(capsys, IMPORT, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 2 and message in done.error()
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_kept(capsys, tmp_path):
    files = maskgit_files(tmp_path)
    folder = imported(capsys, tmp_path, "maskgit", files[0], "--config.image_size=64")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = dict(Case("maskgit/tokenizer_tiny").parameters)
    other["params/quantizer/codebook"] = other["params/quantizer/codebook"] + 1
    file = write_flax(tmp_path / "other", other)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={file}")
    done = run(capsys, *flags, f"--workdir={folder}")
    assert done.code == 2 and "has another tokenizer already" in done.error()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"")
    done = run(capsys, *flags, f"--workdir={photos}")
    assert done.code == 2 and "holds something else than a backbone" in done.error()
    assert [path.name for path in photos.iterdir()] == ["cat.jpg"]


def test_a_killed_import_leaves_nothing_that_looks_finished(capsys, tmp_path, monkeypatch):
    files = maskgit_files(tmp_path)
    write = safetensors_stream.write

    def killed(path, specs, arrays):
        if "transformer" in path.name:
            raise KeyboardInterrupt
        return write(path, specs, arrays)

    monkeypatch.setattr(safetensors_stream, "write", killed)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={','.join(files)}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 130
    assert done.err.endswith(
        "interrupted before the import was done; the same command again starts it anew\n"
    )
    assert not (tmp_path / "model").exists()
    monkeypatch.undo()
    # What a kill -9 leaves is cleared away by the next import.
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "config.json").write_text(json.dumps({}))
    assert run(capsys, *flags, f"--workdir={tmp_path / 'model'}").code == 0
    assert not (tmp_path / ".model.partial").exists()
    assert fingerprint(tmp_path / "model")


def test_weights_stored_in_half_the_bytes(capsys, tmp_path):
    files = ",".join(maskgit_files(tmp_path))
    folder = imported(capsys, tmp_path, "maskgit", files, "--config.store_dtype=bfloat16")
    exact = Case("maskgit/transformer_tiny").parameters["params/MlmLayer_0/mlm_dense/kernel"]
    stored = module(folder, "transformer").head.dense.kernel[...]
    assert np.abs(np.float32(stored) - exact).max() <= np.abs(exact).max() / 256
    size = sum(x.size for x in Case("maskgit/transformer_tiny").parameters.values())
    assert (folder / "transformer.safetensors").stat().st_size < 2 * size + 5000


def test_the_order_of_files_does_not_matter(capsys, tmp_path):
    # 64 codes, 10 classes: taken for 1024 codes without the tokenizer, the words would not do.
    files = maskgit_files(tmp_path)
    one = imported(capsys, tmp_path / "one", "maskgit", ",".join(files))
    two = imported(capsys, tmp_path / "two", "maskgit", ",".join(files[::-1]))
    assert fingerprint(one) == fingerprint(two)


def test_what_else_is_in_the_folder_stays(capsys, tmp_path):
    files = maskgit_files(tmp_path)
    folder = imported(
        capsys,
        tmp_path,
        "maskgit",
        files[0],
        "--config.image_size=64",
        "--config.store_dtype=float16",
    )
    (folder / "NOTES.txt").write_text("mine")
    tokenizer = (folder / "tokenizer.safetensors").read_bytes()
    imported(capsys, tmp_path, "maskgit", files[1])
    assert (folder / "NOTES.txt").read_text() == "mine"
    assert (folder / "tokenizer.safetensors").read_bytes() == tokenizer  # still of half the bytes
    assert fingerprint(folder)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_provenance_of_each_part(capsys, tmp_path):
    folder = imported(capsys, tmp_path, "maskgit", ",".join(maskgit_files(tmp_path)))
    files = json.loads((folder / "config.json").read_text())["provenance"]["files"]
    assert files.keys() == {"tokenizer", "transformer"}
    for name, origin in files.items():
        assert origin["file"] == f"{name}_checkpoint" and origin["format"] == "maskgit"
        assert len(origin["sha256"]) == 64 and "Apache-2.0" in origin["licence"]


def test_a_gpt_alone(capsys, tmp_path):
    case = Case("taming/gpt_tiny")
    file = write_torch(tmp_path / "gpt.ckpt", case.parameters)
    folder = imported(capsys, tmp_path, "taming", file, "--config.heads=4")
    transformer = module(folder, "transformer")
    assert (transformer.cfg.length, transformer.cfg.positions) == (20, 20)
    ids = case["in_tokens_full_block"]
    close(
        transformer(ids[:, 1:], case["in_embeddings"][:, None], ids[:, 0]),
        case["out_logits_embeddings_unshifted"],
        STACK,
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x: x.astype(np.complex64), "head/dense/bias is of complex64, expected floating"),
        (lambda x: x.astype(np.int32), "mlm_dense/bias is of int32, expected floating point"),
        (lambda x: x.astype(np.float64) + 1e300, "or larger ones than float32 has"),
    ],
)
def test_numbers_of_another_kind(change, message, capsys, tmp_path):
    flat = dict(Case("maskgit/transformer_tiny").parameters)
    name = "params/MlmLayer_0/mlm_dense/bias"
    flat[name] = change(flat[name])
    flags = (IMPORT, "--config.format=maskgit", "--config.codebook=64")
    file = write_flax(tmp_path / "checkpoint", flat)
    done = run(capsys, *flags, f"--config.source={file}", f"--workdir={tmp_path / 'model'}")
    message = message.replace("head/dense", "MlmLayer_0/mlm_dense")
    assert done.code == 1 and message in done.error()
    assert done.err.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_parts_that_do_not_belong_together(capsys, tmp_path):
    folder = imported(
        capsys,
        tmp_path,
        "taming",
        write_torch(tmp_path / "last.ckpt", Case("taming/vqgan_f16_tiny").parameters),
        "--config.image_size=64",
    )
    before = (folder / "config.json").read_bytes()
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={folder}")
    done = run(capsys, *flags, f"--config.source={maskgit_files(tmp_path)[1]}")
    assert done.code == 1
    assert "a vqgan tokenizer and a masked transformer are of different projects" in done.error()
    assert (folder / "config.json").read_bytes() == before


def test_numbers_of_codes_that_differ(capsys, tmp_path):
    files = ",".join(maskgit_files(tmp_path))
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={files}", "--config.codebook=60")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 1
    assert "the tokenizer has 64 codes, the transformer 60: they do not belong" in done.error()


def test_the_folder_that_one_stands_in(capsys, tmp_path, monkeypatch):
    files = maskgit_files(tmp_path)
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={','.join(files)}")
    assert run(capsys, *flags, "--workdir=.").code == 0
    assert backbones.load(str(tmp_path / "model")).name == "model"


def test_a_prompt_file_that_is_there_is_kept(capsys, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "prompt.safetensors").write_bytes(b"tuned for hours")
    inside = {
        name: x
        for name, x in Case("maskgit/cond_transformer_tiny").parameters.items()
        if "/prompt_" in name
    }
    file = write_flax(tmp_path / "checkpoint_3", inside)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={file}", "--config.backbone=mini")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 2
    assert "holds a prompt already (prompt.safetensors); use another" in done.error()
    assert (tmp_path / "run" / "prompt.safetensors").read_bytes() == b"tuned for hours"


def test_sigterm_leaves_nothing_and_says_so(capsys, tmp_path, monkeypatch):
    files = maskgit_files(tmp_path)
    write = safetensors_stream.write

    def stopped(path, specs, arrays):
        if "transformer" in path.name:
            signal.raise_signal(signal.SIGTERM)
        return write(path, specs, arrays)

    monkeypatch.setattr(safetensors_stream, "write", stopped)
    before = signal.getsignal(signal.SIGTERM)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={','.join(files)}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert (done.code, signal.getsignal(signal.SIGTERM)) == (143, before)
    assert "stopped before the import was done; the same command again starts" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tokenizer_checkpoint",
        "transformer_checkpoint",
    ]


def test_a_kill_between_the_renames(capsys, tmp_path, monkeypatch):
    """Into a folder that is there and empty, as a mount point may be."""
    folder = tmp_path / "model"
    folder.mkdir()
    replace = os.replace

    def killed(old, new):
        if new.name == "config.json":
            raise KeyboardInterrupt
        replace(old, new)

    monkeypatch.setattr(os, "replace", killed)
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={folder}")
    done = run(capsys, *flags, f"--config.source={','.join(maskgit_files(tmp_path))}")
    assert done.code == 130 and (folder / "tokenizer.safetensors").exists()
    monkeypatch.undo()
    assert run(capsys, *flags, f"--config.source={maskgit_files(tmp_path)[1]}",
               "--config.codebook=64").code == 0  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "transformer.safetensors",
    ]


@pytest.mark.parametrize("kind", ["maskgit", "maskgit-torch", "taming"])
def test_a_file_that_may_not_be_read(kind, capsys, tmp_path, monkeypatch):
    file = tmp_path / "last.ckpt"
    file.write_bytes(b"")

    def forbidden(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(sniff, "open", forbidden, raising=False)
    flags = (IMPORT, f"--config.format={kind}", f"--config.source={file}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 1
    assert f"cannot read {file}: Permission denied; expected a" in done.error()


@pytest.mark.parametrize("what", ["exists", "is_dir", "iterdir", "glob"])
def test_a_folder_that_may_not_be_searched(what, capsys, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()

    def forbidden(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, what, forbidden)
    flags = (IMPORT, "--config.format=taming", f"--config.source={tmp_path}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 1
    assert f"cannot use {tmp_path}" in done.error()
    assert "Permission denied; check the permissions of it and of the folders" in done.error()


def test_a_folder_in_place_of_a_file(capsys, tmp_path):
    maskgit_files(tmp_path)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={tmp_path}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 2
    assert "give one of its files (tokenizer_checkpoint, transformer_checkpoint)" in done.error()


def test_names_in_another_order_give_the_same_model(capsys, tmp_path):
    names = ("tokenizer", "transformer")
    cases = {name: Case(f"maskgit/{name}_tiny").parameters for name in names}
    turned = [
        write_flax(tmp_path / name, dict(reversed(flat.items()))) for name, flat in cases.items()
    ]
    one = imported(capsys, tmp_path / "one", "maskgit", ",".join(maskgit_files(tmp_path)))
    two = imported(capsys, tmp_path / "two", "maskgit", ",".join(turned))
    for name in names:
        file = f"{name}.safetensors"
        assert (one / file).read_bytes() == (two / file).read_bytes()
    assert fingerprint(one) == fingerprint(two)


def test_one_tokenizer_in_three_formats_gives_one_file(capsys, tmp_path):
    flat = {name: np.ascontiguousarray(x) for name, x in state_dict().items()}
    safetensors.numpy.save_file(flat, tmp_path / "a.safetensors")
    found = set()
    for kind, file in (
        ("maskgit", maskgit_files(tmp_path)[0]),
        ("maskgit-torch", write_torch(tmp_path / "a.bin", flat)),
        ("maskgit-torch", tmp_path / "a.safetensors"),
    ):
        folder = imported(capsys, tmp_path / str(len(found)) / pathlib.Path(file).name, kind, file)
        found.add((folder / "tokenizer.safetensors").read_bytes())
    assert len(found) == 1


def test_a_transformer_with_the_tokenizer_of_another(capsys, tmp_path):
    """64 codes, 10 classes and MASK are 75 words."""
    flat = dict(Case("maskgit/tokenizer_tiny").parameters)
    book = flat["params/quantizer/codebook"]  # [64, 16]
    large = flat | {"params/quantizer/codebook": np.concatenate([book, book])}
    files = [write_flax(tmp_path / "large", large), maskgit_files(tmp_path)[1]]
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={tmp_path / 'model'}")
    done = run(capsys, *flags, f"--config.source={','.join(files)}")
    assert done.code == 1
    assert "has 75 words, but the tokenizer makes 128 codes: they do not belong" in done.error()
    assert "give the tokenizer that it was trained with" in done.error()
    # One with fewer codes could be its own: what is concluded is said.
    small = write_flax(tmp_path / "small", flat | {"params/quantizer/codebook": book[:48]})
    done = run(capsys, *flags, f"--config.source={small},{files[1]}")
    assert done.code == 0
    assert "75 words are taken to be 48 codes, 26 classes and MASK; the published" in done.err


def test_published_files_of_two_sizes(capsys, tmp_path):
    tokenizer, transformer = maskgit_files(tmp_path)
    pathlib.Path(tokenizer).rename(tmp_path / "tokenizer_imagenet256_checkpoint")
    pathlib.Path(transformer).rename(tmp_path / "maskgit_imagenet512_checkpoint")
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={tmp_path / 'model'}")
    files = f"{tmp_path}/tokenizer_imagenet256_checkpoint,{tmp_path}/maskgit_imagenet512_checkpoint"
    done = run(capsys, *flags, f"--config.source={files}")
    assert done.code == 1
    assert "a tokenizer of 256 x 256 and a transformer of 512 x 512: they do not" in done.error()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--config.image_size=128", "the tokenizer of this very file, but with image_size 64"),
        ("--config.store_dtype=float16", "but with store_dtype float32"),
    ],
)
def test_other_options_for_what_is_there(flag, message, capsys, tmp_path):
    file = maskgit_files(tmp_path)[0]
    imported(capsys, tmp_path, "maskgit", file, "--config.image_size=64")
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={tmp_path / 'model'}")
    done = run(capsys, *flags, f"--config.source={file}", flag)
    assert done.code == 2 and message in done.error()


def test_a_renamed_convolution_of_a_tokenizer(capsys, tmp_path):
    flat = dict(Case("maskgit/tokenizer_tiny").parameters)
    for old, new, message in (
        ("decoder/Conv_3/", "decoder/Conv_three/", "params/decoder/Conv_3/kernel is missing"),
        ("decoder/Conv_5/", "decoder/Conv_five/", "12 residual blocks in its encoder"),
        ("encoder/ResBlock_4/Conv_1/", "encoder/ResBlock_4/Conv_b/", "ResBlock_4/Conv_1/kernel is"),
    ):
        path = tmp_path / "checkpoint"
        file = write_flax(path, {name.replace(old, new): x for name, x in flat.items()})
        flags = (IMPORT, "--config.format=maskgit", f"--workdir={tmp_path / 'model'}")
        done = run(capsys, *flags, f"--config.source={file}")
        assert done.code == 1
        first = f"(tokenizer) does not fit the model: params/{new}"
        assert first in done.error() and message in done.error()


def test_an_image_size_that_a_label_model_cannot_have(capsys, tmp_path):
    file = write_torch(tmp_path / "last.ckpt", Case("taming/net2net_tiny").parameters)
    flags = (IMPORT, "--config.format=taming", "--config.heads=2", f"--config.source={file}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}", "--config.image_size=32")
    assert done.code == 1
    assert "has 16 positions, as many as codes in an image where a label is" in done.error()
    assert "makes 4 codes; leave --config.image_size out" in done.error()


def prompt_flags(tmp_path: pathlib.Path, workdir: str = "prompt") -> tuple[str, ...]:
    """To import the prompt of the golden case for a random backbone."""
    case = Case("maskgit/cond_transformer_tiny")
    backbone = tmp_path / "backbone"
    backbones.save(_random_backbone(case.config), backbone)
    inside = {name: x for name, x in case.parameters.items() if "/prompt_" in name}
    return (
        IMPORT,
        "--config.format=maskgit",
        f"--config.source={write_flax(tmp_path / 'checkpoint_3', inside)}",
        f"--config.backbone={backbone}",
        f"--workdir={tmp_path / workdir}",
    )


def test_what_a_prompt_import_says(capsys, tmp_path):
    flags = prompt_flags(tmp_path)
    done = run(capsys, *flags)
    assert done.code == 0
    assert "its width of 32: that it is 'random' is your word" in done.out
    command = done.out.splitlines()[-1].removeprefix("use ").split()
    config = f"--config={ROOT}/configs/sample.py"
    few = ("--config.num=1", "--config.sample.steps=1", "--config.classes=('0',)")
    assert run(capsys, config, *command[1:], *few).code == 0
    done = run(capsys, *flags)
    assert done.code == 2 and "holds a prompt already (prompt.safetensors)" in done.error()


def test_a_disk_that_is_full_for_a_prompt(capsys, tmp_path, monkeypatch):
    flags = prompt_flags(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole.os, "replace", full)
    done = run(capsys, *flags)
    assert done.code == 1 and "No space left on device; free some space" in done.error()
    assert not (tmp_path / "prompt").exists()
