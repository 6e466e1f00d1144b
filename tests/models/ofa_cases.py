"""OFA's golden cases, with modules of ours filled with their parameters."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.importers import ofa as importer
from maskgit_prompt.importers import ofa_rules
from maskgit_prompt.importers.rules import Rule
from maskgit_prompt.models.adapter import AdapterConfig, Adapters
from maskgit_prompt.models.ofa import OFA, OFAConfig
from maskgit_prompt.models.prefixes import PrefixesConfig, PrefixGenerator
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.models.specials import PAD, START
from tests import golden_models
from tests.golden_models import Case

TUNED = ("encoder_prompt", "decoder_prompt", ".adapter.")


@functools.cache
def case(name: str) -> Case:
    return Case(f"ofa/{name}")


def backbone(found: Case) -> dict[str, np.ndarray]:
    """The parameters of the frozen network."""
    return {n: x for n, x in found.parameters.items() if not any(part in n for part in TUNED)}


@functools.cache
def model(name: str) -> OFA:
    """The network of a case, as the importer reads it."""
    named = backbone(case(name))
    # No shape tells the window of image codes.
    window = case(name).config["code_image_size"] // 8
    cfg = dataclasses.replace(importer.config(named, "the case"), window=window)
    make = lambda rngs: OFA(cfg, rngs=rngs)
    graphdef, tree = golden_models.tree(named, ofa_rules.rules(cfg), make)
    return nnx.merge(graphdef, jax.tree.map(jnp.asarray, tree))


def images(found: Case) -> np.ndarray:
    """[B, H, W, 3]."""
    return found["in_images"].transpose(0, 2, 3, 1)


def prefix_generator(golden: Case) -> tuple[nnx.GraphDef, dict]:
    """(graphdef, parameters) of the generator of a case's prefixes."""
    c, width = golden.config, golden.config["encoder_embed_dim"]
    sizes = {
        place: PromptConfig(
            kind="table",
            tokens=c[f"{place}_prompt_length"],
            width=width,
            depth=c[f"{place}_layers"],
            prefix=True,
            reparameterize=c.get(f"{place}_prompt_dim", 0),
        )
        for place in ("encoder", "decoder")
    }
    cfg = PrefixesConfig(**sizes)
    graphdef, init = params.create(lambda rngs: PrefixGenerator(cfg, rngs=rngs))
    expected = jax.eval_shape(init, jax.random.key(0))["places"]
    tree = {}
    for place in sizes:
        theirs = {n: x for n, x in golden.parameters.items() if f"{place}_prompt_encoder" in n}
        table = prefix_rules(place, width)
        found = golden_models.load(theirs, table, expected=expected[place])
        tree[place] = params.unflatten(found)
    return graphdef, {"places": jax.tree.map(jnp.asarray, tree)}


def adapters(found: Case) -> tuple[dict, dict]:
    """(graphdefs, parameters) of a case's adapters, by stack."""
    c, graphdefs, tree = found.config, {}, {}
    for stack in ("encoder", "decoder"):
        cfg = AdapterConfig(
            c["encoder_embed_dim"], c[f"{stack}_layers"], c["adapter_dim"], activation="relu"
        )
        theirs = {
            n: x for n, x in found.parameters.items() if n.startswith(stack) and ".adapter." in n
        }
        make = lambda rngs, cfg=cfg: Adapters(cfg, rngs=rngs)
        graphdefs[stack], own = golden_models.tree(theirs, adapter_rules(stack), make)
        tree[stack] = jax.tree.map(jnp.asarray, own)
    return graphdefs, tree


# --- Tuned files of the reference ----------------------------------------------------------------


def prefix_rules(place: str, width: int) -> list[Rule]:
    """For the prompt encoder of "encoder" or "decoder" in a tuned file -> a PromptGenerator.

    A row has a token's key and value for layer 0, then for layer 1, …; or the MLP makes such rows.
    """
    beginning = rf"{place}\.{place}_prompt_encoder\."

    def table(x: np.ndarray) -> np.ndarray:  # [P, layers · 2 · D or E]
        if x.shape[1] == width:  # what the MLP takes
            return x
        return x.reshape(len(x), -1, width).transpose(1, 0, 2).reshape(-1, width)

    return [
        Rule(beginning + r"embedding\.weight", "positions", table),
        *ofa_rules.linear(beginning + r"trans\.0", "up"),
        *ofa_rules.linear(beginning + r"trans\.2", "out"),
    ]


def adapter_rules(stack: str) -> list[Rule]:
    """For the adapters of "encoder" or "decoder" in a tuned file -> Adapters."""
    layer = rf"{stack}\.layers\.(?P<layer>\d+)\.adapter\."
    return [
        *ofa_rules.linear(layer + "down_proj", "layers/down"),
        *ofa_rules.linear(layer + "up_proj", "layers/up"),
    ]


# --- A network of random numbers ------------------------------------------------------------------

TINY = OFAConfig(
    vocabulary=23,
    width=8,
    layers=(2, 3),
    heads=(2, 4),
    mlp=(12, 16),
    stem=(1, 1, 1),
    positions=9,
    buckets=4,
    side=3,
    window=2,
)


def tiny(**changes) -> OFA:
    """A network of its own; changes: of fields that add no parameter."""
    cfg = dataclasses.replace(TINY, **changes)
    return nnx.merge(_graphdef(cfg), jax.tree.map(jnp.copy, _random()))


@functools.cache
def _graphdef(cfg: OFAConfig) -> nnx.GraphDef:
    return params.outline(lambda rngs: OFA(cfg, rngs=rngs))[0]


@functools.cache
def _random() -> dict:
    """Random parameters, norms, biases and tables included."""
    state = params.outline(lambda rngs: OFA(TINY, rngs=rngs))[1]
    rng = np.random.default_rng(0)

    def draw(path, x):
        spread = 0.05 if "stem" in str(path) else 0.4
        found = rng.normal(0, spread, x.shape).astype(np.float32)
        return jnp.asarray(np.abs(found) + 0.5 if "variance" in str(path) else found)

    return jax.tree_util.tree_map_with_path(draw, state)


# Compiled whole: one by one the operations take far longer.


@jax.jit
def encode(network: OFA, images, ids, prefixes=None, valid=None, key=None):
    return network.encode(images, ids, prefixes, valid=valid, key=key)


@jax.jit
def decode(network: OFA, memory, ids, prefixes=None, codes=None, adapters=None, key=None):
    return network.decode(memory, ids, prefixes, codes=codes, adapters=adapters, key=key)


IDS = np.array([[5, 9, 4, 7], [8, 3, PAD, PAD]])
ANSWER = np.array([[START, 4, 17, 11], [START, 6, 2, PAD]])


def pictures(rows: int = 2) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((rows, 32, 48, 3), np.float32)
