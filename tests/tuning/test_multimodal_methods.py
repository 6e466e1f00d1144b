"""What each way to tune an encoder-decoder trains, and files of tuned prefixes."""

import jax
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import ofa_rules
from maskgit_prompt.importers.rules import match
from maskgit_prompt.models.adapter import AdapterConfig, Adapters
from maskgit_prompt.models.ofa import CONFIGS, OFA
from maskgit_prompt.models.prefixes import PrefixesConfig, PrefixGenerator
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.tuning import lora, tuned_file, tuned_prefix
from maskgit_prompt.tuning.methods import MULTIMODAL_METHODS
from maskgit_prompt.tuning.tuned_file import TunedOn
from tests.models import ofa_cases
from tests.models.ofa_cases import case, model

OURS = {name: method.trainable for name, method in MULTIMODAL_METHODS.items()}
AVERAGED = (".running_mean", ".running_var")


def split(tree: dict, method: str) -> dict:
    return params.flatten(params.split(tree, OURS[method])[0])


def tree_of(cfg) -> dict:
    return {"multimodal": params.outline(lambda rngs: OFA(cfg, rngs=rngs))[1]}


def test_full_trains_all_but_the_averages():
    """As many parameters as the reference has, besides its running numbers."""
    theirs = ofa_cases.backbone(case("encdec_tiny"))
    expected = sum(x.size for name, x in theirs.items() if not name.endswith(AVERAGED))
    trained = split(tree_of(model("encdec_tiny").cfg), "full")
    assert sum(x.size for x in trained.values()) == expected
    assert not any(path.endswith(("/mean", "/variance")) for path in trained)


@pytest.mark.parametrize(
    "method, theirs",
    [
        ("bias_ofa", lambda name: "layer_norm" in name or "fc" in name),
        ("bias", lambda name: True),
    ],
)
def test_biases_by_the_references_names(method, theirs):
    cfg = model("encdec_tiny").cfg
    named = ofa_cases.backbone(case("encdec_tiny"))
    chosen = {n: x for n, x in named.items() if n.endswith(".bias") and theirs(n)}
    expected = match(chosen, ofa_rules.rules(cfg))
    trained = split(tree_of(cfg), method)
    assert trained.keys() == {f"multimodal/{path}" for path in expected}


def test_shares_of_base():
    """Numbers trained for OFA-base; docs/multimodal.md has the same."""
    cfg = CONFIGS["base"]
    tree = tree_of(cfg)
    sizes = {
        place: PromptConfig(kind="table", tokens=64, width=768, depth=6, prefix=True)
        for place in ("encoder", "decoder")
    }
    outline = lambda make: params.outline(make)[1]
    tree["prompt"] = outline(lambda rngs: PrefixGenerator(PrefixesConfig(**sizes), rngs=rngs))
    tree["adapter"] = {
        stack: outline(
            lambda rngs, stack=stack: Adapters(
                AdapterConfig(**cfg.adapters(stack), bottleneck=100), rngs=rngs
            )
        )
        for stack in ("encoder", "decoder")
    }
    tree["lora"] = jax.eval_shape(
        lambda key: lora.init(lora.LoRAConfig(), tree["multimodal"], key), jax.random.key(0)
    )
    count = {name: sum(x.size for x in split(tree, name).values()) for name in OURS}
    assert count["prompt"] == 1_179_648
    # 12 layers of 768 · 100 + 100 and 100 · 768 + 768.
    assert count["adapter"] == 12 * (2 * 768 * 100 + 100 + 768) == 1_853_616
    # Queries and values of 12 self-attentions, 768 · 8 + 8 · 768 each.
    assert count["lora"] == 12 * 2 * 2 * 768 * 8 == 294_912
    assert round(count["full"] / 1e6, 1) == 182.2
    assert count["bias_ofa"] < count["bias"] < 400_000


# --- Files ---------------------------------------------------------------------------------------


def tuned(reparameterize: int = 0) -> tuned_prefix.TunedPrefix:
    common = {"kind": "table", "tokens": 3, "width": 8, "prefix": True}
    cfg = PrefixesConfig(
        encoder=PromptConfig(depth=2, left_out=(1,), **common),
        cross=PromptConfig(depth=3, reparameterize=reparameterize, **common),
    )
    _, init = params.create(lambda rngs: PrefixGenerator(cfg, rngs=rngs))
    on = TunedOn("tiny", "0123456789abcdef", ("multimodal",))
    task = {"name": "caption", "instruction": " what does the image describe?"}
    return tuned_prefix.TunedPrefix(cfg, init(jax.random.key(0)), on, task, {"cider": 1.5})


def prefixes(found: tuned_prefix.TunedPrefix):
    graphdef, _ = params.outline(lambda rngs: PrefixGenerator(found.config, rngs=rngs))
    return nnx.merge(graphdef, found.tree).of_batch(2)


@pytest.mark.parametrize("reparameterize", [0, 50])
def test_a_file_holds_what_was_tuned_without_its_mlp(reparameterize, tmp_path):
    before, path = tuned(reparameterize), tmp_path / "prefix.safetensors"
    tuned_prefix.save(path, before)
    after = tuned_prefix.load(path)
    assert after.config.cross.reparameterize == 0 and after.config.encoder == before.config.encoder
    assert (after.task, after.scores, after.backbone) == (
        before.task,
        before.scores,
        before.backbone,
    )
    assert set(params.flatten(after.tree)) == {
        "places/encoder/positions",
        "places/cross/positions",
    }
    pairs = zip(jax.tree.leaves(prefixes(after)), jax.tree.leaves(prefixes(before)), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_file_is_refused_on_another_backbone(tmp_path):
    path = tmp_path / "prefix.safetensors"
    tuned_prefix.save(path, tuned())
    backbone = Backbone("other", {}, identities={"multimodal": "another one"})
    with pytest.raises(UserError, match="was tuned on 'tiny' with fingerprint 0123456789abcdef"):
        tuned_prefix.load(path).backbone.check(backbone, path)


def test_a_damaged_file(tmp_path):
    path = tmp_path / "prefix.safetensors"
    found = tuned()
    tree = {"places": {"encoder": found.tree["places"]["encoder"]}}
    header = {
        "cfg": {"cross": {"kind": "table", "tokens": 3, "width": 8, "depth": 3, "prefix": True}},
        "backbone": {"name": "tiny", "fingerprint": "", "parts": ["multimodal"]},
        "task": {},
        "scores": {},
    }
    tuned_file.save(path, tuned_prefix.FILE, jax.tree.map(np.asarray, tree), header)
    with pytest.raises(UserError, match="places/cross/positions: missing, expected"):
        tuned_prefix.load(path)
