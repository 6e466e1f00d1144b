"""What a Sampler hands to the decoding loop and gives back, with a loop that decodes nothing.

The stub's code for an image is the number that the image's first prompt is filled with.
"""

import dataclasses

import jax
import numpy as np
import pytest

from maskgit_prompt.backbones import Backbone, Part
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.decoding import autoregressive, jacobi
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompt import NONE, PromptConfig
from maskgit_prompt.models.prompts import Prompt, stack
from maskgit_prompt.tasks.generation import sampling
from maskgit_prompt.tasks.generation.sampling import Sampler
from tests import tiny, training

LENGTH = tiny.TOKENIZER.length  # 16, a grid of 4 x 4
TOKENIZER = Part("vq", tiny.TOKENIZER, {"codebook": np.zeros((24, 4), np.float32)})
MASKED = Part("masked", training.TRANSFORMER, {"words": np.zeros((1, 16), np.float32)})
CAUSAL = Part("causal", tiny.CAUSAL, {"words": np.zeros((1, 16), np.float32)})


class Loop:
    """Takes the place of both loops; keeps what it is made and called with."""

    def __init__(self):
        self.made, self.calls = {}, []

    def make(self, model, **options):
        self.made = options
        return self

    def __call__(self, key, headers, uncond, start, config, **options):
        call = dict(key=key, headers=headers.tokens, uncond=uncond and uncond.tokens, start=start)
        self.calls.append({name: x if x is None else jax.device_get(x) for name, x in call.items()})
        self.calls[-1] |= dict(config=config, options=options)
        codes = np.repeat(np.asarray(headers.tokens)[:, 0, 0, :1], LENGTH, 1).astype(np.int32)
        return codes, len(self.calls)


@pytest.fixture
def loop(monkeypatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(sampling, "make_sampler", loop.make)
    monkeypatch.setattr(autoregressive, "make_sampler", loop.make)
    monkeypatch.setattr(
        jacobi, "make_sampler", lambda *model, **options: loop.make(*model, **options, by="jacobi")
    )
    return loop


def sampler(part: Part = MASKED, compute: Compute = Compute(), **changes) -> Sampler:  # noqa: B008
    config = DecodeConfig(**{"batch_size": 2, **changes})
    backbone = Backbone("stub", {"tokenizer": TOKENIZER, "transformer": part})
    return Sampler(backbone, training.mesh(), config, compute)


def one(*numbers: int) -> Prompt:
    """[n, P = 1, D = 3]: image i's prompt is numbers[i]."""
    return Prompt(tokens=np.tile(np.array(numbers, np.float32)[:, None, None], (1, 1, 3)))


def headers(*numbers: int) -> Prompt:
    """[n, K = 2, P = 1, D = 3]: image i's prompts are numbers[i] and 10 more."""
    return stack([one(*numbers), one(*(number + 10 for number in numbers))])


def key() -> jax.Array:
    return sharding.make_key(0, training.mesh())


@pytest.mark.parametrize(
    "number, most, size", [(160, 64, 54), (128, 64, 64), (3, 64, 3), (65, 64, 33), (1, 1, 1)]
)
def test_batches_of_one_size_leave_little_room(number, most, size):
    assert sampling.even(number, most) == size
    assert -(-number // size) == -(-number // most)


def test_a_batch_size_of_its_own_is_padded_to_the_devices(loop):
    backbone = Backbone("stub", {"tokenizer": TOKENIZER, "transformer": MASKED})
    mesh = training.mesh(2)
    made = Sampler(backbone, mesh, DecodeConfig(batch_size=4))
    codes = made.codes(headers(3, 4, 5, 6, 7), sharding.make_key(0, mesh), batch_size=3)
    np.testing.assert_array_equal(codes, np.tile([[3], [4], [5], [6], [7]], (1, LENGTH)))
    rows = [call["headers"][:, 0, 0, 0].tolist() for call in loop.calls]
    assert rows == [[3, 4, 5, 5], [6, 7, 7, 7]]


def test_images_keep_their_places_in_batches_of_which_the_last_is_padded(loop):
    codes = sampler().codes(headers(3, 4, 5, 6, 7), key())
    np.testing.assert_array_equal(codes, np.tile([[3], [4], [5], [6], [7]], (1, LENGTH)))
    assert [call["headers"][:, 0, 0, 0].tolist() for call in loop.calls] == [
        [3, 4],
        [5, 6],
        [7, 7],
    ]
    # The prompts scroll past in the order given.
    assert loop.calls[0]["headers"][0, :, 0, 0].tolist() == [3, 13]


def test_batches_have_keys_of_their_own_and_calls_the_same(loop):
    made = sampler()
    for _ in range(2):
        made.codes(headers(1, 2, 3), key())
    found = [jax.random.key_data(call["key"]).tolist() for call in loop.calls]
    expected = [
        jax.random.key_data(jax.random.fold_in(jax.random.key(0), batch)).tolist()
        for batch in (0, 1)
    ]
    assert found == expected * 2


def test_all_codes_are_made_unless_some_are_given(loop):
    made = sampler()
    made.codes(headers(1, 2, 3), key())
    assert all((call["start"] == MASK).all() for call in loop.calls)
    start = np.full((3, LENGTH), MASK)
    start[:, 0] = [20, 21, 22]
    made.codes(headers(1, 2, 3), key(), start=start)
    assert [call["start"][:, 0].tolist() for call in loop.calls[2:]] == [[20, 21], [22, 22]]


def test_guesses_are_made_by_the_loop_that_makes_them(loop):
    sampler(CAUSAL, sampler="jacobi", window=3).codes(headers(1), key())
    assert loop.made == {"grid": (4, 4), "keep_calls": True, "by": "jacobi"}
    assert loop.calls[0]["options"] == {"known": 0}


def test_calls_per_batch_are_the_mean_of_all_batches(loop):
    made = sampler()
    made.codes(headers(1, 2, 3, 4, 5), key())
    assert made.calls_per_batch == 2  # the stub has 1, 2 and 3


OTHER = dict(
    steps=5,
    schedule="linear",
    order="halton",
    choice_temperature=8.0,
    temperature=0.6,
    top_k=6,
    top_p=0.7,
    cutoff=0.5,
    power=2.0,
    guidance=3.0,
    guidance_schedule="cosine",
    guidance_power=4.0,
)


@pytest.mark.parametrize(
    ("part", "options"), [(MASKED, {}), (CAUSAL, {"known": 0})], ids=["masked", "causal"]
)
def test_every_setting_reaches_the_loop(part, options, loop):
    sampler(part, **OTHER).codes(headers(1), key())
    assert loop.made == {"grid": (4, 4), "keep_calls": True}
    assert loop.calls[0]["config"] == DecodeConfig(batch_size=2, **OTHER)
    assert loop.calls[0]["options"] == options


def test_networks_are_computed_as_asked(loop, monkeypatch):
    asked = {}
    real = Part.graphdef
    graphdef = lambda part, cfg: asked.update(transformer=cfg) or real(part, cfg)
    monkeypatch.setattr(Part, "graphdef", graphdef)
    monkeypatch.setattr(
        sampling, "make_decoder", lambda tokenizer, mesh, dtype: asked.update(decoder=dtype)
    )
    sampler(compute=Compute("bfloat16", "xla"))
    transformer = dataclasses.replace(
        training.TRANSFORMER, dtype="bfloat16", attention_implementation="xla", dropout=0.0
    )
    assert asked == {"transformer": transformer, "decoder": "bfloat16"}


def test_a_cutoff_given_with_the_call_is_the_one(loop):
    made = sampler(**OTHER)
    made.codes(headers(1), key(), cutoff=0.25)
    made.codes(headers(1), key())
    given, own = (call["config"] for call in loop.calls)
    assert given == dataclasses.replace(own, cutoff=0.25) and own.cutoff == 0.5
    with pytest.raises(UsageError, match="config.sample.cutoff = 0.0"):
        made.codes(headers(1), key(), cutoff=0.0)


def test_only_guidance_has_an_unconditional_prompt_and_all_images_the_same(loop):
    uncond = one(9)
    sampler(guidance=2.0).codes(headers(1, 2), key(), uncond=uncond)
    sampler(guidance=2.0).codes(headers(1, 2), key())
    sampler(guidance=1.0).codes(headers(1, 2), key(), uncond=uncond)
    np.testing.assert_array_equal(loop.calls[0]["uncond"], np.full((2, 1, 3), 9))
    assert loop.calls[1]["uncond"] is None and loop.calls[2]["uncond"] is None


def test_known_rows_are_counted_for_a_causal_transformer(loop):
    start = np.full((2, LENGTH), MASK)
    start[:, :8] = 5
    sampler(CAUSAL).codes(headers(1, 2), key(), start=start)
    assert loop.calls[0]["options"] == {"known": 8}


# --- Prompts -------------------------------------------------------------------------------------

PROMPT = PromptConfig(kind="table", tokens=1, width=1, classes=2, instances=3)
TREE = {
    "positions": np.float32([[1]]),
    "classes": np.float32([[[10]], [[20]]]),
    "instances": np.float32([[[100]], [[200]], [[300]]]),
}


def test_images_are_those_of_the_codes(loop, monkeypatch):
    monkeypatch.setattr(
        sampling, "make_decoder", lambda tokenizer, mesh, dtype: lambda codes: 10 * codes
    )
    start = np.full((1, LENGTH), MASK)
    start[0, 0] = 20
    images = sampler(guidance=2.0).images(
        headers(3), key(), uncond=one(9), start=start, cutoff=0.25
    )
    np.testing.assert_array_equal(images, np.full((1, LENGTH), 30))
    (call,) = loop.calls
    assert call["start"][0, 0] == 20 and call["config"].cutoff == 0.25
    assert (call["uncond"] == 9).all()


def test_prompts_are_of_classes_and_of_instances():
    prompts = sampling.make_prompts(PROMPT, TREE)
    found = prompts(np.array([0, 1, 0, NONE]), np.array([1, 0, NONE, 2]))
    # 1 without condition; 10 and 20 more for a class; 100, 200 and 300 more for an instance.
    np.testing.assert_array_equal(found.tokens[:, 0, 0], [211, 121, 11, 301])
    np.testing.assert_array_equal(prompts(np.array([1, 0])).tokens[:, 0, 0], [21, 11])


@pytest.mark.parametrize(
    ("guidance", "guidance_from", "expected"),
    [(2.0, "prompt", 1.0), (2.0, "backbone", None), (1.0, "prompt", None)],
)
def test_guidance_is_away_from_the_prompt_of_no_condition(guidance, guidance_from, expected):
    config = DecodeConfig(guidance=guidance, guidance_from=guidance_from)
    found = sampling.unconditional(config, sampling.make_prompts(PROMPT, TREE))
    assert found is None if expected is None else found.tokens.tolist() == [[[expected]]]
