"""Checkpoints in the published formats as files, and the command that imports them."""

import pathlib
import pickle

import jax.numpy as jnp
import numpy as np
from flax import nnx, serialization, traverse_util

from maskgit_prompt import backbones, params
from maskgit_prompt.models.masked import MaskedConfig
from maskgit_prompt.models.tokenizer import TokenizerConfig
from maskgit_prompt.tasks.generation.plan import PARTS
from tests.golden_models import Case
from tests.importers.pytorch_files import tensor, write_zip
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


def random_backbone(config: dict) -> backbones.Backbone:
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


def prompt_flags(tmp_path: pathlib.Path, workdir: str = "prompt") -> tuple[str, ...]:
    """To import the prompt of the golden case for a random backbone."""
    case = Case("maskgit/cond_transformer_tiny")
    backbone = tmp_path / "backbone"
    backbones.save(random_backbone(case.config), backbone)
    inside = {name: x for name, x in case.parameters.items() if "/prompt_" in name}
    return (
        IMPORT,
        "--config.format=maskgit",
        f"--config.source={write_flax(tmp_path / 'checkpoint_3', inside)}",
        f"--config.backbone={backbone}",
        f"--workdir={tmp_path / workdir}",
    )
