"""Several steps of training as VPT's reference implementation takes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.config import defaults
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import vit as importer
from maskgit_prompt.models import vit
from maskgit_prompt.models.head import Head, HeadConfig
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.tasks.classification.model import (
    Classifier,
    classification_loss,
    cross_entropy,
)
from maskgit_prompt.tuning import methods
from maskgit_prompt.tuning.optimizers import learning_rate, make_optimizer
from tests import golden_models
from tests.golden_models import Case, close
from tests.models.test_vit import config, prompt_of

STACK = 1e-4


def classifier(case: Case) -> tuple[Classifier, dict]:
    """The case's model and all of its parameters."""
    cfg, c = config(case), case.config
    ours = ("cls", "embedding/", "Transformer/")
    named = {name: x for name, x in case.parameters.items() if name.startswith(ours)}
    encoder, weights = golden_models.tree(
        named, importer.google(cfg.grid), lambda rngs: vit.ViT(cfg, rngs=rngs)
    )
    head, _ = params.create(lambda rngs: Head(HeadConfig(cfg.width, c["classes"]), rngs=rngs))
    theirs = prompt_of(case, "head.last_layer.")
    tree = {
        "encoder": weights,
        "head": {"out": {"kernel": theirs["weight"].T, "bias": theirs["bias"]}},
    }
    prompt = None
    if tensors := prompt_of(case):
        sets = [tensors["prompt_embeddings"], tensors["deep_prompt_embeddings"]]
        shared = PromptConfig(
            kind="table", tokens=c["num_tokens"], width=cfg.width, depth=cfg.layers
        )
        prompt, _ = params.create(lambda rngs: PromptGenerator(shared, rngs=rngs))
        tree["prompt"] = {"positions": np.concatenate(sets).reshape(-1, cfg.width)}
    tree = jax.tree.map(jnp.asarray, tree)
    return Classifier(encoder, head, prompt), tree


def optimizer(case: Case, epoch: int, **changes):
    c = case.config
    settings = defaults.transfer().optimizer
    settings.update(
        dict(learning_rate=c["base_lr"], warmup_steps=c["warmup_epochs"] * epoch, hold=epoch)
        | dict(clip=0.0)
        | changes
    )
    return settings


def train(case: Case, method: str, settings, batches: list, epochs: int):
    """(losses before each step, rates, the model, all parameters after the last step)."""
    model, tree = classifier(case)
    trainable, frozen = params.split(tree, methods.of_classifier(method, 3).trainable)
    steps = epochs * len(batches)
    tx, rate = make_optimizer(settings, steps), learning_rate(settings, steps)
    opt = tx.init(trainable)
    loss_fn = classification_loss(model)

    @jax.jit
    def step(trainable, opt, images, labels):
        def whole(trainable):
            batch = {"images": images, "labels": labels}
            return loss_fn(params.merge(trainable, frozen), batch, jax.random.key(0))

        (loss, _), grads = jax.value_and_grad(whole, has_aux=True)(trainable)
        updates, opt = tx.update(grads, opt, trainable)
        return loss, jax.tree.map(jnp.add, trainable, updates), opt

    losses = []
    for _ in range(epochs):
        for images, labels in batches:
            loss, trainable, opt = step(trainable, opt, images, labels)
            losses.append(loss)
    rates = [float(rate(i)) for i in range(steps)]
    return losses, rates, model, params.merge(trainable, frozen)


def test_sgd_on_deep_prompts():
    case = Case("vpt/train_sgd")
    c = case.config
    decays = ("head/out/bias=0",)
    settings = optimizer(
        case, 2, name="sgd", momentum=c["momentum"], weight_decay=c["weight_decay"], decays=decays
    )
    batches = list(zip(case["in_images"], case["in_labels"], strict=True))
    losses, rates, model, tree = train(case, "prompt", settings, batches, c["epochs"])
    np.testing.assert_allclose(rates, case["out_lr"], rtol=1e-6, atol=1e-9)
    close(losses, case["out_losses"], STACK)
    depth, tokens = 3, c["num_tokens"]
    sets = tree["prompt"]["positions"].reshape(depth, tokens, -1)
    close(sets[:1], case["out_after_prompt_embeddings"], STACK)
    close(sets[1:], case["out_after_deep_prompt_embeddings"], STACK)
    close(tree["head"]["out"]["kernel"].T, case["out_after_head_weight"], STACK)
    close(tree["head"]["out"]["bias"], case["out_after_head_bias"], STACK)
    images, labels = case["in_images"][0], case["in_labels"][0]
    close(model.features(tree, images), case["out_features"], STACK)
    close(model.logits(tree, {"images": images}), case["out_logits"], STACK)
    weighted = cross_entropy(case["out_logits"], labels, case["in_class_weights"])
    close(weighted, case["out_weighted_loss"], STACK)


def test_adamw_on_the_last_block():
    case = Case("vpt/train_adamw")
    c = case.config
    settings = optimizer(
        case,
        1,
        name="adamw-vpt",
        b2=0.999,
        eps=1e-6,
        weight_decay=c["weight_decay_effective"],
        decays=(".*bias=0",),
    )
    batches = [(case["in_images"], case["in_labels"])]
    losses, rates, model, tree = train(case, "last_1", settings, batches, c["epochs"])
    np.testing.assert_allclose(rates, case["out_lr"], rtol=1e-6, atol=1e-9)
    close(losses, case["out_losses"], STACK)
    block = jax.tree.map(lambda x: np.asarray(x)[-1], tree["encoder"]["blocks"])
    width = block["mlp"]["up"]["kernel"].shape[0]
    query = block["attention"]["query"]["kernel"].reshape(width, width)
    for name, found in {
        "ffn_fc1_weight": block["mlp"]["up"]["kernel"].T,
        "ffn_fc1_bias": block["mlp"]["up"]["bias"],
        "attn_query_weight": query.T,
        "attention_norm_weight": block["attention_norm"]["scale"],
        "attention_norm_bias": block["attention_norm"]["bias"],
        "head_weight": tree["head"]["out"]["kernel"].T,
        "head_bias": tree["head"]["out"]["bias"],
    }.items():
        close(found, case[f"out_after_{name}"], STACK)
    close(model.features(tree, case["in_images"]), case["out_features"], STACK)
    close(model.logits(tree, {"images": case["in_images"]}), case["out_logits"], STACK)


def test_the_schedule_of_a_hundred_epochs():
    settings = defaults.transfer().optimizer
    settings.update(dict(learning_rate=1.0, warmup_steps=10 * 7, hold=7))
    rate = learning_rate(settings, 100 * 7)
    expected = Case("vpt/train_sgd")["out_schedule_10_100"]
    for step in (0, 3, 6):
        found = [float(rate(7 * epoch + step)) for epoch in range(100)]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_wrong_hold_is_refused():
    with pytest.raises(UsageError, match="config.optimizer.hold = 0, expected at least 1"):
        learning_rate(optimizer(Case("vpt/train_sgd"), 1, hold=0), 10)


def test_a_head_of_hidden_layers_renews_its_averages():
    case = Case("vpt/train_sgd")
    model, tree = classifier(case)
    made = Head(HeadConfig(config(case).width, 7, hidden=1, dropout=0.0), rngs=nnx.Rngs(0))
    graph, state = nnx.split(made)
    tree["head"] = nnx.to_pure_dict(state)
    model = Classifier(model.encoder, graph, model.prompt)
    batch = {"images": case["in_images"][0], "labels": case["in_labels"][0]}
    _, found = classification_loss(model)(tree, batch, jax.random.key(0))
    mean = found["stats"]["head"]["norms"]["0"]["mean"]
    hidden = jax.nn.relu(made.hidden["0"](model.features(tree, batch["images"])))
    np.testing.assert_allclose(mean, 0.1 * hidden.mean(0), rtol=1e-4, atol=1e-6)
