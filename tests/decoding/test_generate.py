"""The compiled sampler: header and guidance reach the model, and one compilation serves all."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import generate
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.decoding.parallel import MASKED
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompts import Prompt

B, L, V = 2, 12, 9
START = np.full((B, L), MASKED, np.int32)
FLAT = dict(choice_temperature=0.0)


def prompts_of(*values):
    """Headers [B, K, P = 1, D = 1]: the same numbers as prompts of both images."""
    return Prompt(tokens=jnp.tile(jnp.array(values, jnp.float32)[:, None, None], (B, 1, 1, 1)))


def one(value):
    """[B, P = 1, D = 1]: the same prompt for both images."""
    return Prompt(tokens=jnp.full((B, 1, 1), value, jnp.float32))


def peaked(codes, prompt):
    """Logits with their peak at the code that the prompt's only number names."""
    number = jnp.zeros(len(codes)) if prompt is None else prompt.tokens[:, 0, 0]
    peak = -100.0 * (jnp.arange(V) - number[:, None]) ** 2  # [B, V]
    return jnp.broadcast_to(peak[:, None], (*codes.shape, V))


class Counting:
    """A model that counts how often it is traced and keeps the shapes it saw."""

    def __init__(self):
        self.shapes = []

    def __call__(self, codes, prompt):
        self.shapes.append((codes.shape, prompt and prompt.tokens.shape))
        return peaked(codes, prompt)


def test_the_header_scrolls_through_the_prompts():
    sample = generate.make_sampler(peaked, keep_trace=True)
    config = DecodeConfig(steps=4, schedule="linear", **FLAT)
    # Prompts 0 and 6 in four steps: the mixtures 0, 2, 4, 6 name the codes of each step.
    _, trace = sample(jax.random.key(0), prompts_of(0, 6), None, START, config)
    seen = [np.unique(trace.codes[t][trace.unknown[t]]).tolist() for t in range(4)]
    assert seen == [[0], [2], [4], [6]]
    # With cutoff 1/3 the second prompt stands from the second step on.
    config = dataclasses.replace(config, cutoff=1 / 3)
    _, trace = sample(jax.random.key(0), prompts_of(0, 6), None, START, config)
    seen = [np.unique(trace.codes[t][trace.unknown[t]]).tolist() for t in range(4)]
    assert seen == [[0], [6], [6], [6]]


def test_every_image_has_its_own_condition():
    prompts = Prompt(tokens=jnp.array([3.0, 5.0]).reshape(B, 1, 1, 1))
    sample = generate.make_sampler(peaked)
    codes = sample(jax.random.key(0), prompts, None, START, DecodeConfig(steps=3))
    np.testing.assert_array_equal(codes, np.tile([[3], [5]], (1, L)))


def linear(codes, prompt):
    """Logits that grow with the code by the prompt's number: guidance adds up by hand."""
    slope = jnp.zeros(len(codes)) if prompt is None else prompt.tokens[:, 0, 0]
    return jnp.broadcast_to((slope[:, None] * jnp.arange(V))[:, None], (*codes.shape, V))


def test_guidance_by_hand():
    # c = -20 and u = -30: the slope is -30 + 10 s, positive only above s = 3.
    sample = generate.make_sampler(linear)
    for scale, best in ((0.0, 0), (2.0, 0), (4.0, V - 1)):
        config = DecodeConfig(steps=2, guidance=scale)
        codes = sample(jax.random.key(0), prompts_of(-20), one(-30), START, config)
        np.testing.assert_array_equal(codes, np.full((B, L), best))


def test_guidance_by_the_bare_backbone_matches_a_prompt_of_zero():
    sample = generate.make_sampler(linear)
    config = DecodeConfig(steps=3, guidance=2.5, **FLAT)
    bare = sample(jax.random.key(1), prompts_of(0.1), None, START, config)
    zero = sample(jax.random.key(1), prompts_of(0.1), one(0), START, config)
    np.testing.assert_array_equal(bare, zero)


def test_the_scale_follows_its_schedule():
    # c = -10, u = 0 and scale -3 at the end: slopes -10, 10, 30 at progress 0, 1/2, 1 by
    # the linear schedule 1, -1, -3; the first step takes code 0, the later ones the last.
    sample = generate.make_sampler(linear, keep_trace=True)
    config = DecodeConfig(
        steps=3, schedule="linear", guidance=-3.0, guidance_schedule="linear", **FLAT
    )
    _, trace = sample(jax.random.key(0), prompts_of(-10), one(0), START, config)
    seen = [np.unique(trace.codes[t][trace.unknown[t]]).tolist() for t in range(3)]
    assert seen == [[0], [V - 1], [V - 1]]


def test_guidance_acts_in_its_interval_alone():
    # c = -10, u = 0 and scale -3: slope 30 at progress 1/2 and 1, and without guidance -10.
    sample = generate.make_sampler(linear, keep_trace=True)
    config = DecodeConfig(steps=3, schedule="linear", guidance=-3.0, **FLAT)
    for interval, expected in (
        (dict(guidance_begin=0.5), [[0], [V - 1], [V - 1]]),
        (dict(guidance_end=0.5), [[V - 1], [V - 1], [0]]),
    ):
        cut = dataclasses.replace(config, **interval)
        _, trace = sample(jax.random.key(0), prompts_of(-10), one(0), START, cut)
        seen = [np.unique(trace.codes[t][trace.unknown[t]]).tolist() for t in range(3)]
        assert seen == expected


def test_the_power_of_guidance_is_not_that_of_the_marquee():
    # As above; power 2 makes the share (1 - cos(pi / 4)) / 2 = 0.15 half way, the scale 0.41 and
    # the slope -4.1, where power 1 would make it 10.
    sample = generate.make_sampler(linear, keep_trace=True)
    guided = dict(guidance=-3.0, guidance_schedule="power-cosine", guidance_power=2.0)
    config = DecodeConfig(steps=3, schedule="linear", **guided, **FLAT)
    _, trace = sample(jax.random.key(0), prompts_of(-10), one(0), START, config)
    seen = [np.unique(trace.codes[t][trace.unknown[t]]).tolist() for t in range(3)]
    assert seen == [[0], [0], [V - 1]]


def test_one_compilation_for_any_condition_header_and_temperature():
    model = Counting()
    sample = generate.make_sampler(model)
    plan = DecodeConfig(steps=4, guidance=2.0, guidance_schedule="power-cosine")
    values = [
        {},
        {"cutoff": 0.5, "power": 2.0, "guidance": 4.0, "guidance_power": 2.75},
        {"cutoff": 1, "temperature": 0, "top_p": np.float32(0.9), "choice_temperature": 0},
        {"temperature": jnp.float32(0.7), "cutoff": jnp.asarray(0.3)},
    ]
    for i, options in enumerate(values):
        start = START.copy()
        start[:, :i] = i
        config = dataclasses.replace(plan, **options)
        codes = sample(jax.random.key(i), prompts_of(i, i + 1), one(0), start, config)
        assert codes.shape == (B, L) and (codes[:, :i] == i).all()
        if i == 0:
            first = len(model.shapes)
    assert len(model.shapes) == first
    assert set(model.shapes) == {((2 * B, L), (2 * B, 1, 1))}


def test_another_plan_is_another_compilation():
    model = Counting()
    sample = generate.make_sampler(model)
    args = (jax.random.key(0), prompts_of(1), None, START)
    for config in (DecodeConfig(steps=2), DecodeConfig(steps=3), DecodeConfig(steps=3, top_k=2)):
        before = len(model.shapes)
        sample(*args, config)
        assert len(model.shapes) > before
        after = len(model.shapes)
        sample(*args, dataclasses.replace(config, temperature=0.5))
        assert len(model.shapes) == after


def test_unguided_batches_are_not_doubled():
    model = Counting()
    sample = generate.make_sampler(model)
    sample(jax.random.key(0), prompts_of(1), None, START, DecodeConfig(steps=2))
    assert set(model.shapes) == {((B, L), (B, 1, 1))}


def test_bound_weights_are_arguments_and_not_constants():
    def logits_of(weights, codes, prompt):
        return weights + jnp.zeros((*codes.shape, V))

    weights = 50.0 * jax.nn.one_hot(4, V)
    bound = generate.make_sampler(jax.tree_util.Partial(logits_of, weights))
    sample = lambda *args: bound(*args, DecodeConfig(steps=2))
    args = (jax.random.key(0), prompts_of(0), None, START)
    np.testing.assert_array_equal(sample(*args), np.full((B, L), 4))
    constants = jax.make_jaxpr(sample)(*args)
    (call,) = [e for e in constants.eqns if e.primitive.name in ("jit", "pjit")]
    assert not any(c.shape == (V,) for c in call.params["jaxpr"].consts)


def test_runs_where_implicit_transfers_are_refused():
    sample = generate.make_sampler(peaked)
    args = jax.device_put((jax.random.key(0), prompts_of(1, 2), None, START))
    first = sample(*args, DecodeConfig(steps=2, cutoff=0.5))
    with jax.transfer_guard("disallow"):
        again = sample(*args, DecodeConfig(steps=2, cutoff=0.5, temperature=1.0))
    np.testing.assert_array_equal(first, again)


def cut(prompt, rows=slice(None), count=slice(None)):
    """Some of the images, and some of their prompts."""
    return Prompt(tokens=prompt.tokens[rows, count])


@pytest.mark.parametrize(
    ("prompts", "uncond", "guidance", "message"),
    [
        pytest.param(
            one(1),
            None,
            1.0,
            r"tokens of shape \(2, 1, 1\) for 2 images; use \[images, prompts, tokens, width\]",
            id="no-header",
        ),
        pytest.param(
            Prompt(layers=jnp.zeros((B, 3, 1, 1))),
            None,
            1.0,
            r"layers of shape \(2, 3, 1, 1\) .* \[images, prompts, layers, tokens, width\]",
            id="no-header-of-layers",
        ),
        pytest.param(
            Prompt(prefix=jnp.zeros((B, 3, 2, 1, 1))),
            None,
            1.0,
            r"prefix of shape .* \[images, prompts, layers, 2, tokens, width\]",
            id="no-header-of-prefixes",
        ),
        pytest.param(cut(prompts_of(1), slice(1)), None, 1.0, "for 2 images", id="of-fewer-images"),
        pytest.param(
            cut(prompts_of(1), count=slice(0)), None, 1.0, "at least one prompt per", id="no-prompt"
        ),
        pytest.param(
            prompts_of(1), one(1), 1.0, "unconditional prompt, but guidance 1", id="unguided"
        ),
        pytest.param(
            prompts_of(1),
            cut(one(1), slice(1)),
            2.0,
            r"tokens of shape \(1, 1, 1\); expected tokens of shape \(2, 1, 1\)",
            id="unconditional-of-fewer-images",
        ),
        pytest.param(
            prompts_of(1),
            Prompt(layers=jnp.zeros((B, 1, 1, 1))),
            2.0,
            r"has layers of shape \(2, 1, 1, 1\); expected tokens of shape \(2, 1, 1\)",
            id="unconditional-of-another-place",
        ),
    ],
)
def test_shapes_that_do_not_fit(prompts, uncond, guidance, message):
    sample, config = generate.make_sampler(peaked), DecodeConfig(steps=2, guidance=guidance)
    with pytest.raises(UsageError, match=message):
        sample(jax.random.key(0), prompts, uncond, START, config)


def test_a_start_step_beyond_the_steps_is_refused():
    sample = generate.make_sampler(peaked, start_step=9)
    with pytest.raises(UsageError, match="start_step is 9; use 0 to 1 for 2 steps"):
        sample(jax.random.key(0), prompts_of(1), None, START, DecodeConfig(steps=2))
