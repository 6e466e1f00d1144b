"""The compiled sampler: header and guidance reach the model, and one compilation serves all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import generate
from maskgit_prompt.decoding.parallel import MASKED
from maskgit_prompt.errors import UsageError

B, L, V = 2, 12, 9
START = np.full((B, L), MASKED, np.int32)
FLAT = dict(choice_temperature=0.0)


def prompts_of(*values):
    """[B, K, 1, 1, 1]: the same numbers as prompts of both images."""
    return jnp.tile(jnp.array(values, jnp.float32)[None, :, None, None, None], (B, 1, 1, 1, 1))


def peaked(codes, prompt):
    """Logits with their peak at the code that the prompt's only number names."""
    number = jnp.zeros(len(codes)) if prompt is None else prompt[:, 0, 0, 0]
    peak = -100.0 * (jnp.arange(V) - number[:, None]) ** 2  # [B, V]
    return jnp.broadcast_to(peak[:, None], (*codes.shape, V))


class Counting:
    """A model that counts how often it is traced and keeps the shapes it saw."""

    def __init__(self):
        self.shapes = []

    def __call__(self, codes, prompt):
        self.shapes.append((codes.shape, prompt if prompt is None else prompt.shape))
        return peaked(codes, prompt)


def test_the_header_scrolls_through_the_prompts():
    sample = generate.make_sampler(peaked, steps=4, schedule="linear", keep_trace=True)
    # Prompts 0 and 6 in four steps: the mixtures 0, 2, 4, 6 name the codes of each step.
    _, trace = sample(jax.random.key(0), prompts_of(0, 6), None, START, **FLAT)
    seen = [np.unique(trace.codes[t][trace.unknown[t]]).tolist() for t in range(4)]
    assert seen == [[0], [2], [4], [6]]
    # With cutoff 1/3 the second prompt stands from the second step on.
    _, trace = sample(jax.random.key(0), prompts_of(0, 6), None, START, cutoff=1 / 3, **FLAT)
    seen = [np.unique(trace.codes[t][trace.unknown[t]]).tolist() for t in range(4)]
    assert seen == [[0], [6], [6], [6]]


def test_every_image_has_its_own_condition():
    prompts = prompts_of(0) + jnp.array([3.0, 5.0])[:, None, None, None, None]
    sample = generate.make_sampler(peaked, steps=3)
    codes = sample(jax.random.key(0), prompts, None, START)
    np.testing.assert_array_equal(codes, np.tile([[3], [5]], (1, L)))


def linear(codes, prompt):
    """Logits that grow with the code by the prompt's number: guidance adds up by hand."""
    slope = jnp.zeros(len(codes)) if prompt is None else prompt[:, 0, 0, 0]
    return jnp.broadcast_to((slope[:, None] * jnp.arange(V))[:, None], (*codes.shape, V))


def test_guidance_by_hand():
    # c = -20 and u = -30: the slope is -30 + 10 s, positive only above s = 3.
    sample = generate.make_sampler(linear, steps=2, guided=True)
    for scale, best in ((0.0, 0), (1.0, 0), (4.0, V - 1)):
        codes = sample(
            jax.random.key(0), prompts_of(-20), prompts_of(-30)[:, 0], START, guidance_scale=scale
        )
        np.testing.assert_array_equal(codes, np.full((B, L), best))


def test_guidance_by_the_bare_backbone_matches_a_prompt_of_zero():
    sample = generate.make_sampler(linear, steps=3, guided=True)
    options = dict(guidance_scale=2.5, **FLAT)
    bare = sample(jax.random.key(1), prompts_of(0.1), None, START, **options)
    zero = sample(jax.random.key(1), prompts_of(0.1), prompts_of(0)[:, 0], START, **options)
    np.testing.assert_array_equal(bare, zero)


def test_the_scale_follows_its_schedule():
    # c = -10, u = 0 and scale -3 at the end: slopes -10, 10, 30 at progress 0, 1/2, 1 by
    # the linear schedule 1, -1, -3; the first step takes code 0, the later ones the last.
    sample = generate.make_sampler(
        linear, steps=3, schedule="linear", guided=True, guidance_schedule="linear", keep_trace=True
    )
    uncond = prompts_of(0)[:, 0]
    _, trace = sample(
        jax.random.key(0), prompts_of(-10), uncond, START, guidance_scale=-3.0, **FLAT
    )
    seen = [np.unique(trace.codes[t][trace.unknown[t]]).tolist() for t in range(3)]
    assert seen == [[0], [V - 1], [V - 1]]


def test_one_compilation_for_any_condition_header_and_temperature():
    model = Counting()
    sample = generate.make_sampler(model, steps=4, guided=True, guidance_schedule="power-cosine")
    values = [
        {},
        {"cutoff": 0.5, "power": 2.0, "guidance_scale": 4.0, "guidance_power": 2.75},
        {"cutoff": 1, "temperature": 0, "top_p": np.float32(0.9), "choice_temperature": 0},
        {"temperature": jnp.float32(0.7), "cutoff": jnp.asarray(0.3)},
    ]
    for i, options in enumerate(values):
        start = START.copy()
        start[:, :i] = i
        codes = sample(
            jax.random.key(i), prompts_of(i, i + 1), prompts_of(0)[:, 0], start, **options
        )
        assert codes.shape == (B, L) and (codes[:, :i] == i).all()
        if i == 0:
            first = len(model.shapes)
    assert len(model.shapes) == first
    assert set(model.shapes) == {((2 * B, L), (2 * B, 1, 1, 1))}


def test_unguided_batches_are_not_doubled():
    model = Counting()
    generate.make_sampler(model, steps=2)(jax.random.key(0), prompts_of(1), None, START)
    assert set(model.shapes) == {((B, L), (B, 1, 1, 1))}


def test_bound_weights_are_arguments_and_not_constants():
    def logits_of(weights, codes, prompt):
        return weights + jnp.zeros((*codes.shape, V))

    weights = 50.0 * jax.nn.one_hot(4, V)
    sample = generate.make_sampler(jax.tree_util.Partial(logits_of, weights), steps=2)
    args = (jax.random.key(0), prompts_of(0), None, START)
    np.testing.assert_array_equal(sample(*args), np.full((B, L), 4))
    constants = jax.make_jaxpr(sample)(*args)
    (call,) = [e for e in constants.eqns if e.primitive.name in ("jit", "pjit")]
    assert not any(c.shape == (V,) for c in call.params["jaxpr"].consts)


def test_runs_where_implicit_transfers_are_refused():
    sample = generate.make_sampler(peaked, steps=2)
    args = jax.device_put((jax.random.key(0), prompts_of(1, 2), None, START))
    first = sample(*args, cutoff=0.5)
    with jax.transfer_guard("disallow"):
        again = sample(*args, cutoff=0.5, temperature=1.0)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoff": 0.0}, "cutoff is 0.0"),
        ({"power": -1.0}, "power is -1.0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"top_p": 2.0}, "top-p is 2.0"),
    ],
)
def test_bad_values(options, message):
    sample = generate.make_sampler(peaked, steps=2)
    with pytest.raises(UsageError, match=message):
        sample(jax.random.key(0), prompts_of(1), None, START, **options)


def test_shapes_that_do_not_fit():
    key, prompts = jax.random.key(0), prompts_of(1)
    plain = generate.make_sampler(peaked, steps=2)
    guided = generate.make_sampler(peaked, steps=2, guided=True)
    with pytest.raises(UsageError, match=r"\(2, 1, 1, 1\) for 2 images; use \[images, prompts"):
        plain(key, prompts[:, 0], None, START)
    with pytest.raises(UsageError, match="for 1 images"):
        plain(key, prompts, None, START[:1])
    with pytest.raises(UsageError, match="at least one prompt an image"):
        plain(key, prompts[:, :0], None, START)
    with pytest.raises(UsageError, match="made with guided=False"):
        plain(key, prompts, prompts[:, 0], START)
    with pytest.raises(UsageError, match=r"shape \(1, 1, 1, 1\); expected \(2, 1, 1, 1\)"):
        guided(key, prompts, prompts[:1, 0], START)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "sin"}, "unknown mask schedule 'sin'"),
        ({"order": "raster"}, "unknown unmasking order 'raster'"),
        ({"guidance_schedule": "step"}, "unknown guidance schedule 'step'"),
        ({"start_step": 9}, "start_step is 9"),
    ],
)
def test_bad_plans_are_refused_before_anything_runs(options, message):
    with pytest.raises(UsageError, match=message):
        generate.make_sampler(peaked, steps=2, **options)
