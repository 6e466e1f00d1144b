"""The decoding loop: the reference's codes bit for bit, exact counts, orders, known codes."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import orders, parallel
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.decoding.parallel import MASKED, decode
from maskgit_prompt.errors import UsageError

CASE = pathlib.Path(__file__).parents[1] / "goldens/maskgit/decode_tiny"
CONFIG = json.loads((CASE / "manifest.json").read_text())["config"]
RUNS = CONFIG["runs"]


IO = np.load(CASE / "io.npz")

STATIC = ("logits_fn", "start_step", "grid", "keep_trace")
compiled = jax.jit(decode, static_argnames=STATIC)


def golden_logits(codes, t):
    table, bigram = jnp.asarray(IO["in_table"]), jnp.asarray(IO["in_bigram"])
    left = jnp.roll(codes, 1, axis=1)
    return table[: codes.shape[1]] + bigram[jnp.where(left < 0, len(bigram) - 1, left)]


def golden_run(name):
    run = RUNS[name]
    return compiled(
        jax.random.PRNGKey(int(IO["in_seed"])),
        IO[f"in_{run['start']}"],
        golden_logits,
        DecodeConfig(
            steps=run["num_iter"],
            schedule=run["mask_scheduling_method"],
            choice_temperature=run["choice_temperature"],
        ),
        start_step=run["start_iter"],
        keep_trace=True,
    )


@pytest.mark.parametrize("name", RUNS)
def test_golden(name):
    codes, trace = golden_run(name)
    seqs = np.moveaxis(trace.codes, 0, 1)  # [T, B, L] -> [B, T, L]
    np.testing.assert_array_equal(seqs, IO[f"out_{name}_seqs"])
    np.testing.assert_array_equal(codes, IO[f"out_{name}_seqs"][:, -1])
    begun = trace.unknown[RUNS[name]["start_iter"] :].sum(-1).T  # [B, steps run]
    np.testing.assert_array_equal(begun, IO[f"out_{name}_unknown"])


@pytest.mark.parametrize("name", CONFIG["legacy_runs"])
def test_golden_with_the_generator_of_old(name):
    with jax.threefry_partitionable(False):
        _, trace = golden_run(name)
    np.testing.assert_array_equal(np.moveaxis(trace.codes, 0, 1), IO[f"out_{name}_legacy_seqs"])


@pytest.mark.parametrize("name", CONFIG["noise_runs"])
def test_golden_from_its_noise_alone(name):
    """Codes and confidences follow from the stored noise, whatever drew it."""
    _, trace = golden_run(name)
    run = RUNS[name]
    known_at_start = IO[f"in_{run['start']}"] != MASKED
    for t in range(run["num_iter"]):
        unknown = np.asarray(trace.unknown[t])
        logits = np.asarray(golden_logits(jnp.where(unknown, MASKED, trace.codes[t]), t))
        drawn = np.argmax(logits + IO[f"out_{name}_g1"][t], axis=-1)
        np.testing.assert_array_equal(trace.codes[t][unknown], drawn[unknown])
        log_p = np.asarray(jax.nn.log_softmax(logits))
        log_p = np.take_along_axis(log_p, drawn[..., None], -1)[..., 0]
        noise = run["choice_temperature"] * (1 - (t + 1) / run["num_iter"])
        expected = np.where(unknown, log_p + noise * IO[f"out_{name}_g2"][t], np.inf)
        np.testing.assert_allclose(trace.confidence[t], expected, rtol=1e-5, atol=1e-5)
        assert not (unknown & known_at_start).any()


@pytest.mark.parametrize("i", range(3))
def test_golden_remasking(i):
    case = {k: IO[f"in_topk_{i}_{k}"] for k in ("probs", "len", "temp", "seed")}
    key = jax.random.PRNGKey(int(case["seed"]))
    confidence = parallel.log_confidence(key, jnp.asarray(case["probs"]), case["temp"])
    finite = np.isfinite(case["probs"])
    expected = np.log(case["probs"]) + case["temp"] * IO[f"out_topk_{i}_noise"]
    np.testing.assert_allclose(
        np.asarray(confidence)[finite], expected[finite], rtol=1e-5, atol=1e-5
    )
    mask = parallel.lowest(confidence, jnp.asarray(case["len"]))
    np.testing.assert_array_equal(mask, IO[f"out_topk_{i}_mask"])


def test_lowest_is_exact_under_ties():
    rating = jnp.array([[0.5, 0.2, 0.2, 0.2, np.inf], [np.inf] * 5, [-np.inf, 1, -np.inf, 0, 2]])
    mask = parallel.lowest(rating, jnp.array([[2], [3], [1]]))
    np.testing.assert_array_equal(mask, np.array([[0, 1, 1, 0, 0], [0] * 5, [1, 0, 0, 0, 0]], bool))


def flat(codes, t):
    """The same logits everywhere: every confidence ties."""
    return jnp.zeros((*codes.shape, 7))


PLAN = DecodeConfig(steps=4, choice_temperature=0.0)


def run(logits_fn=flat, start=None, key=0, *, start_step=0, grid=(4, 4), **settings):
    start = np.full((2, 16), MASKED) if start is None else start
    return compiled(
        jax.random.key(key),
        np.asarray(start, np.int32),
        logits_fn,
        dataclasses.replace(PLAN, **settings),
        start_step=start_step,
        # Always given: equal calls then share one compilation.
        grid=grid,
        keep_trace=True,
    )


COSINE = [16, 14, 11, 6]  # 16 * cos(pi/2 * 1/4, 2/4, 3/4) = 14.78, 11.31, 6.12


@pytest.mark.parametrize(
    ("schedule", "begun", "order"),
    [
        ("cosine", COSINE, "confidence"),
        ("cosine", COSINE, "halton"),
        ("cosine", COSINE, "halton-rolled"),
        ("cosine", COSINE, "random"),
        ("linear", [16, 12, 8, 4], "confidence"),
        ("pow2", [16, 15, 12, 7], "confidence"),
        ("log", [16, 8, 4, 1], "halton"),  # 16 * (0.5, 0.25, 0.1038)
    ],
)
def test_counts_follow_the_schedule_even_where_all_tie(schedule, begun, order):
    codes, trace = run(order=order, schedule=schedule)
    np.testing.assert_array_equal(trace.unknown.sum(-1), np.tile(begun, (2, 1)).T)
    assert ((codes >= 0) & (codes < 7)).all()
    # What is known stays as it was sampled when it became known.
    settled = ~np.asarray(trace.unknown[1:])
    assert (np.asarray(trace.codes[1:]) == np.asarray(trace.codes[:-1]))[settled].all()


def test_counts_are_each_images_own():
    start = np.zeros((3, 16), np.int32)
    start[1, :8], start[2, :1] = MASKED, MASKED
    _, trace = run(start=start, schedule="linear")
    np.testing.assert_array_equal(
        trace.unknown.sum(-1), [[0, 8, 1], [0, 6, 1], [0, 4, 1], [0, 2, 1]]
    )


def test_at_least_one_is_decided_and_one_left_at_every_step():
    # Eight steps for three codes: never stuck, never early.
    _, trace = run(start=np.full((1, 3), MASKED), steps=8, grid=None)
    counts = np.asarray(trace.unknown.sum(-1)[:, 0])
    np.testing.assert_array_equal(counts, [3, 2, 1, 1, 1, 1, 1, 1])


def test_one_step_fills_everything():
    codes, trace = run(steps=1)
    assert trace.codes.shape == (1, 2, 16) and (codes >= 0).all()


def test_outside_jit_and_without_a_trace_the_codes_are_the_same():
    expected, _ = run(choice_temperature=4.5, order="random")
    start = np.full((2, 16), MASKED)
    np.testing.assert_array_equal(
        decode(jax.random.key(0), start, flat, DecodeConfig(steps=4, order="random")), expected
    )


def test_halton_reveals_in_its_order_and_skips_the_known():
    order = orders.halton(4, 4)
    start = np.full((2, 16), MASKED)
    start[:, order[::2]] = 5
    _, trace = run(start=start, order="halton", schedule="linear")
    # Every other visit falls on a known code; the eight others come two a step.
    for t in range(4):
        expected = np.zeros(16, bool)
        expected[order[1::2][2 * t :]] = True
        np.testing.assert_array_equal(trace.unknown[t, 0], expected)


def test_random_order_differs_by_image_and_not_by_logits():
    _, one = run(order="random")
    _, two = run(lambda codes, t: jnp.arange(7.0) + flat(codes, t), order="random")
    np.testing.assert_array_equal(one.unknown, two.unknown)
    assert (one.unknown[1, 0] != one.unknown[1, 1]).any()


def test_halton_rolled_begins_where_the_image_says():
    order = list(orders.halton(4, 4))
    start = np.full((8, 16), MASKED)
    _, trace = run(start=start, order="halton-rolled", schedule="linear")
    first = ~np.asarray(trace.unknown[1])  # [B, L], four a row, neighbours on the circle
    begins = set()
    for row in first:
        visits = sorted(order.index(position) for position in np.flatnonzero(row))
        rolls = [b for b in range(16) if sorted((b + i) % 16 for i in range(4)) == visits]
        assert len(rolls) == 1
        begins.add(rolls[0])
    assert len(begins) > 1


@pytest.mark.parametrize("order", orders.NAMES)
def test_all_known_comes_back_in_every_order(order):
    start = np.arange(32, dtype=np.int32).reshape(2, 16)
    codes, trace = run(start=start, order=order)
    np.testing.assert_array_equal(codes, start)
    assert not trace.unknown.any() and np.isinf(trace.confidence).all()


@pytest.mark.parametrize("order", orders.NAMES)
def test_inpainting_and_outpainting_keep_the_known_codes(order):
    hole = np.zeros((4, 4), bool)
    hole[1:3, 1:3] = True
    masked = np.stack([hole.ravel(), ~hole.ravel()])  # [B, L], one image of each
    start = np.where(masked, MASKED, 100 + np.arange(16))  # known values beyond the codebook
    codes, trace = run(start=start, order=order, choice_temperature=4.5)
    for step in np.array([*trace.codes, codes]):
        np.testing.assert_array_equal(step[~masked], start[~masked])
        assert ((step[masked] >= 0) & (step[masked] < 7)).all()


def test_the_model_sees_the_step_and_the_masked_codes():
    # Logits that favour code t where masked: the code tells the step at which it was settled.
    def logits_fn(codes, t):
        return 100.0 * (jnp.arange(7) == t) * (codes == MASKED)[..., None]

    codes, trace = run(logits_fn, schedule="linear")
    np.testing.assert_array_equal(np.sort(codes[0]), np.repeat([0, 1, 2, 3], 4))
    for t in range(4):
        assert (trace.codes[t][trace.unknown[t]] == t).all()


def test_start_step_begins_late_and_its_trace_with_the_start():
    _, trace = run(schedule="linear", start_step=2)
    np.testing.assert_array_equal(trace.unknown.sum(-1)[:, 0], [16, 16, 16, 4])
    assert (trace.codes[:2] == MASKED).all() and (trace.confidence[:2] == -np.inf).all()
    assert trace.codes.shape == trace.confidence.shape == (4, 2, 16)


def test_greedy_and_top_k_restrict_what_is_sampled():
    logits = lambda codes, t: jnp.array([0.0, 3, 1, 2, 0, 0, 0]) + flat(codes, t)  # noqa: E731
    assert (run(logits, temperature=0.0)[0] == 1).all()
    assert set(np.unique(run(logits, temperature=3.0, top_k=2)[0])) == {1, 3}
    assert (run(logits, top_p=0.1)[0] == 1).all()


def test_bfloat16_logits_draw_as_their_float32_values():
    logits = jax.random.normal(jax.random.key(3), (2, 16, 7), jnp.bfloat16)
    one, _ = run(lambda codes, t: logits)
    two, _ = run(lambda codes, t: logits.astype(jnp.float32))
    np.testing.assert_array_equal(one, two)


def test_temperatures_change_without_compiling_anew():
    traces = []

    def counted(codes, t):
        traces.append(1)
        return flat(codes, t)

    run(counted)
    first = len(traces)
    run(counted, choice_temperature=4.5, temperature=0.0, top_p=0.5, key=1)
    run(counted, choice_temperature=1.0, temperature=0.7, top_p=0.9, key=2)
    assert len(traces) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_step": 4}, "start_step is 4; use 0 to 3 for 4 steps"),
        ({"start_step": -1}, "start_step is -1; use 0 to 3"),
        ({"order": "halton", "grid": None}, r"grid None for 16 codes; give grid=\(height, width\)"),
        ({"order": "halton", "grid": (4, 5)}, r"grid \(4, 5\) for 16 codes; .* = 16"),
    ],
)
def test_errors(options, message):
    with pytest.raises(UsageError, match=message):
        run(**options)
