"""Which networks a backbone's parts can be: part -> kind -> (config class, module class)."""

import dataclasses
from typing import Any

from flax import nnx

from maskgit_prompt.models.causal import CausalConfig, CausalTransformer
from maskgit_prompt.models.features import FeatureNetwork, FeaturesConfig
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig
from maskgit_prompt.models.vqgan import VQGAN, VQGANConfig
from maskgit_prompt.params import Tree

KINDS = {  # part -> kind -> (config class, module class)
    "tokenizer": {"vq": (TokenizerConfig, Tokenizer), "vqgan": (VQGANConfig, VQGAN)},
    "transformer": {
        "masked": (MaskedConfig, MaskedTransformer),
        "causal": (CausalConfig, CausalTransformer),
    },
    "features": {"convolutional": (FeaturesConfig, FeatureNetwork)},
}


def make_module(name: str, kind: str, cfg: Any):
    """The function of nnx.Rngs that makes part `name` of a kind."""
    _, module = KINDS[name][kind]
    return lambda rngs: module(cfg, rngs=rngs)


def abstract(make) -> Tree:
    """Names, shapes and dtypes of a module's parameters, at no cost."""
    return nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0)))))


def stored_fields(cfg: Any) -> dict[str, Any]:
    """A config's fields as a folder has them: how attention is computed is the machine's matter."""
    fields = dataclasses.asdict(cfg)
    fields.pop("attention_implementation", None)
    return fields
