"""Checkpoints in the published formats through the command, to what the references compute."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from maskgit_prompt import backbones, params
from maskgit_prompt.models.prompt import PromptGenerator
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from tests.golden_models import Case, close
from tests.importers.pytorch_files import tensor, write_old
from tests.importers.test_maskgit_torch import state_dict
from tests.jobs.importing import (
    IMPORT,
    LAYER,
    STACK,
    fingerprint,
    imported,
    maskgit_files,
    module,
    prompt_flags,
    random_backbone,
    write_flax,
    write_torch,
)
from tests.jobs.running import ROOT, run


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
    backbones.save(random_backbone(config), backbone)
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
    prompts = nnx.merge(graphdef, found.tree)(case["in_labels"].reshape(-1))
    close(prompts.tokens, case["out_prompts"], LAYER)


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
        transformer(ids[:, 1:], Prompt(tokens=case["in_embeddings"]), ids[:, 0]),
        case["out_logits_embeddings_unshifted"],
        STACK,
    )


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


def test_what_a_prompt_import_says(capsys, tmp_path):
    flags = prompt_flags(tmp_path)
    done = run(capsys, *flags)
    assert done.code == 0
    assert "width of its transformer, 32: make sure that it was tuned on 'random'" in done.out
    command = done.out.splitlines()[-1].removeprefix("use ").split()
    config = f"--config={ROOT}/configs/sample.py"
    few = ("--config.num=1", "--config.sample.steps=1", "--config.classes=('0',)")
    assert run(capsys, config, *command[1:], *few).code == 0
    done = run(capsys, *flags)
    assert done.code == 2 and "holds a prompt already (prompt.safetensors)" in done.error()


def test_the_folder_that_one_stands_in(capsys, tmp_path, monkeypatch):
    files = maskgit_files(tmp_path)
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={','.join(files)}")
    assert run(capsys, *flags, "--workdir=.").code == 0
    assert backbones.load(str(tmp_path / "model")).name == "model"


def test_the_network_of_fid(capsys, tmp_path):
    case = Case("inception/fid_small_images")
    source = tmp_path / "pt_inception.pth"
    write_old(source, {name: tensor(x) for name, x in case.parameters.items()})
    folder = imported(capsys, tmp_path, "inception", str(source))
    part = backbones.load(str(folder)).part("features")
    assert part.kind == "inception" and part.cfg.resize == "legacy_pytorch"
    tree = params.flatten(part.tree)
    assert len(tree) == len(case.parameters)
    kernel = case.parameters["Mixed_6b.branch7x7_2.conv.weight"]  # [out, in, height, width]
    np.testing.assert_array_equal(
        tree["blocks/6b/rows/7x7/convs/1/conv/kernel"].read(), np.moveaxis(kernel, (1, 0), (2, 3))
    )
    origin = json.loads((folder / "config.json").read_text())["provenance"]["files"]["features"]
    assert origin["file"] == "pt_inception.pth" and origin["format"] == "inception"
