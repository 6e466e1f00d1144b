"""Modules of ours, filled with a golden case's parameters."""

import json
import pathlib
import sys

import numpy as np
from flax import nnx

from maskgit_prompt import backbones, params
from maskgit_prompt.importers import maskgit, rules
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig

FOLDER = pathlib.Path(__file__).parent / "goldens"
sys.path.insert(0, str(FOLDER))
import weights  # noqa: E402


class Case:
    """A golden case: its manifest's config, its arrays and its parameters."""

    def __init__(self, name: str):
        self.config = json.loads((FOLDER / name / "manifest.json").read_text())["config"]
        self.parameters = weights.parameters(FOLDER / name)
        with np.load(FOLDER / name / "io.npz") as file:
            self.arrays = dict(file)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def part(self, *starts: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix("params/"): value
            for name, value in self.parameters.items()
            if any(name.startswith(f"params/{start}") for start in starts)
        }


def load(parameters: dict, table: list[rules.Rule], **kwargs) -> dict[str, np.ndarray]:
    """{our path: array}: `rules.match`, and everything read."""
    return {path: x.read() for path, x in rules.match(parameters, table, **kwargs).items()}


def tree(parameters: dict, table: list[rules.Rule], make) -> tuple[nnx.GraphDef, dict]:
    """(graphdef, parameters of ours) from a case's parameters."""
    graphdef, _ = params.create(make)
    return graphdef, params.unflatten(load(parameters, table, expected=backbones.abstract(make)))


def tokenizer(case: Case, config: dict) -> tuple[nnx.GraphDef, dict]:
    cfg = TokenizerConfig(
        image_size=config["image_size"],
        codebook=config["codebook_size"],
        embedding=config["embedding_dim"],
        filters=config["filters"],
        multipliers=tuple(config["channel_multipliers"]),
        blocks=config["num_res_blocks"],
        conv_downsample=config["conv_downsample"],
    )
    parameters = case.part("encoder", "decoder", "quantizer")
    return tree(parameters, maskgit.tokenizer_rules(cfg), lambda rngs: Tokenizer(cfg, rngs=rngs))


def transformer(case: Case, cfg: MaskedConfig) -> tuple[nnx.GraphDef, dict]:
    parameters = case.part("Embed_0", "TransformerLayer", "MlmLayer")
    make = lambda rngs: MaskedTransformer(cfg, rngs=rngs)
    return tree(parameters, maskgit.TRANSFORMER, make)


def prompt(case: Case, cfg: PromptConfig) -> tuple[nnx.GraphDef, dict]:
    make = lambda rngs: PromptGenerator(cfg, rngs=rngs)
    return tree(case.part("prompt_"), maskgit.PROMPT, make)


def close(found, expected, tolerance: float) -> None:
    """Asserts that found equals expected to `tolerance` of the largest expected value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    error = np.max(np.abs(found - expected)) / np.max(np.abs(expected))
    assert error <= tolerance, f"relative error {error:.2e}, allowed {tolerance}"
