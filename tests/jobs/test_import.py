"""Checkpoints in the published formats through the command, to what the references compute."""

import json
import pathlib
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, serialization, traverse_util

from maskgit_prompt import params, prompt_file
from maskgit_prompt import source as sources
from tests.golden_models import Case, close
from tests.importers.pytorch_files import Call, tensor, write_zip
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
    """A part of a source model's folder, as a network."""
    part = sources.load(str(folder)).part(name)
    return nnx.merge(part.graphdef(name), _read(part.tree))


def _read(tree):
    return params.unflatten(
        {path: jnp.asarray(x.read()) for path, x in params.flatten(tree).items()}
    )


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
    assert sources.load(str(one)).fingerprint == sources.load(str(both)).fingerprint
    again = run(
        capsys, IMPORT, "--config.format=maskgit", f"--config.source={files[0]}", f"--workdir={one}"
    )
    assert (again.code, "these very files already" in again.out) == (0, True)


@pytest.mark.parametrize("name", ["cond_transformer_tiny", "cond_transformer_tiny_hidden_size"])
def test_prompt_of_generative_transfer(name, capsys, tmp_path):
    case = Case(f"maskgit/{name}")
    config, prompt = case.config, case.config["prompt"]
    backbone = tmp_path / "backbone"
    sources.save(_random_source(config), backbone)
    inside = {f"model_state/{name}": x for name, x in case.parameters.items() if "/prompt_" in name}
    checkpoint = write_flax(
        tmp_path / "checkpoint_3",
        inside,
        step=3,
        optimizer_state={"0": {"mu": {"a": np.zeros(2, np.float32)}}, "1": None},
    )
    folder = imported(capsys, tmp_path, "maskgit", checkpoint, f"--config.backbone={backbone}")
    found = prompt_file.load(folder / "prompt.safetensors")
    assert found.classes == tuple(str(i) for i in range(prompt["num_classes"]))
    assert found.fingerprint == sources.load(str(backbone)).fingerprint
    graphdef, _ = params.create(lambda rngs: prompt_file.PromptGenerator(found.cfg, rngs=rngs))
    tokens = nnx.merge(graphdef, found.tree)(case["in_labels"].reshape(-1))
    close(tokens[:, 0], case["out_prompts"], LAYER)


def _random_source(config: dict) -> sources.Source:
    tokenizer = sources.TokenizerConfig(
        image_size=8, codebook=4, embedding=2, filters=4, multipliers=(1, 1), blocks=1, groups=2
    )
    transformer = sources.MaskedConfig(
        codebook=4, classes=2, length=16, width=config["hidden_size"], layers=1, heads=2, mlp=8
    )
    parts = {}
    for name, kind, cfg in (("tokenizer", "vq", tokenizer), ("transformer", "masked", transformer)):
        _, init = params.create(sources.make_module(name, kind, cfg))
        parts[name] = sources.Part(kind, cfg, init(0))
    return sources.Source("random", parts)


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
    # The main job cannot use it yet, and says so before it writes anything.
    home = tmp_path / "run"
    done = run(
        capsys,
        f"--config={ROOT}/configs/quickstart.py",
        f"--config.source={folder}",
        f"--workdir={home}",
    )
    assert done.code == 1 and "causal transformer; prompts are tuned on masked" in done.error()
    assert not home.exists()


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
                "blocks/mlp/down/bias has shape (4, 32), expected (3, 32)",
            ],
        ),
        (
            "renamed",
            ["mlm_dance/kernel (32, 32) is unexpected", "head/dense/kernel (32, 32) is missing"],
        ),
        ("misshapen", ["head/dense/kernel has shape (32, 31), expected (32, 32)"]),
        ("nan", ["transformer/head/dense/kernel holds NaN or infinite numbers"]),
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
    assert done.code == 2 and "holds something else than a source model" in done.error()
    assert [path.name for path in photos.iterdir()] == ["cat.jpg"]


def test_a_killed_import_leaves_nothing_that_looks_finished(capsys, tmp_path, monkeypatch):
    files = maskgit_files(tmp_path)
    write = sources.safetensors_stream.write

    def killed(path, specs, arrays):
        if "transformer" in path.name:
            raise KeyboardInterrupt
        return write(path, specs, arrays)

    monkeypatch.setattr(sources.safetensors_stream, "write", killed)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={','.join(files)}")
    assert run(capsys, *flags, f"--workdir={tmp_path / 'model'}").code == 130
    assert not (tmp_path / "model").exists()
    monkeypatch.undo()
    # What a kill -9 leaves is cleared away by the next import.
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "config.json").write_text(json.dumps({}))
    assert run(capsys, *flags, f"--workdir={tmp_path / 'model'}").code == 0
    assert not (tmp_path / ".model.partial").exists()
    assert sources.load(str(tmp_path / "model")).fingerprint


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
    assert sources.load(str(one)).fingerprint == sources.load(str(two)).fingerprint


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
    imported(capsys, tmp_path, "maskgit", ",".join(files))
    assert (folder / "NOTES.txt").read_text() == "mine"
    assert (folder / "tokenizer.safetensors").read_bytes() == tokenizer  # still of half the bytes
    assert sources.load(str(folder)).fingerprint
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
    assert sources.load(str(tmp_path / "model")).name == "model"


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
    assert "something else than a source model (prompt.safetensors, …)" in done.error()
    assert (tmp_path / "run" / "prompt.safetensors").read_bytes() == b"tuned for hours"
