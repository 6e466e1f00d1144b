"""What decoding costs: images per second, time per step, memory; masked and causal, with a cache
and without.

    python benchmarks/decoding.py --out=decoding.json
    python benchmarks/decoding.py --small            # a minute, to see that it runs

Random weights: 16 x 16 codes of 16,384, 12 layers x 768 with 12 heads, float32. Three ways:

    masked     parallel decoding in 12 steps, each a forward pass of all codes
    cached     a causal transformer with keys and values kept, one code per step: the package's way
    uncached   the same codes, all read again at every step, to show what the cache saves

Each way, batch size and prompt length runs in a process of its own, which reports its peak of
resident memory. `cached` is timed as a whole and again step by step: the last step should cost
what the first does. `uncached` is timed by a few of an image's 256 steps.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import statistics
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from benchmarks import measuring  # noqa: E402

WAYS = ("masked", "cached", "uncached")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured."""

    side: int = 16
    codebook: int = 16384
    width: int = 768
    layers: int = 12
    heads: int = 12
    masked_steps: int = 12
    uncached_steps: int = 5
    batches: tuple[int, ...] = (1, 4, 16)
    tokens: tuple[int, ...] = (16, 128)


SMALL = Sizes(4, 32, 16, 2, 2, 3, 2, (2,), (2, 4))


def make_backbone(way: str, sizes: Sizes):
    """A backbone with random weights; its tokenizer gives the grid and is never run."""
    from maskgit_prompt import backbones
    from maskgit_prompt.models.causal_sizes import CausalConfig
    from maskgit_prompt.models.masked import MaskedConfig
    from maskgit_prompt.models.tokenizer import TokenizerConfig

    common = dict(
        codebook=sizes.codebook,
        classes=10,
        length=sizes.side**2,
        width=sizes.width,
        layers=sizes.layers,
        heads=sizes.heads,
        mlp=4 * sizes.width,
    )
    tokenizer = TokenizerConfig(
        image_size=sizes.side, codebook=sizes.codebook, embedding=4, filters=8, groups=2,
        multipliers=(1,), blocks=1,
    )  # fmt: skip
    if way == "masked":
        kind, cfg = "masked", MaskedConfig(**common)
    else:
        kind, cfg = "causal", CausalConfig(**common, positions=sizes.side**2)
    tree = measuring.random_tree
    parts = {
        "tokenizer": backbones.Part("vq", tokenizer, tree("vq", tokenizer)),
        "transformer": backbones.Part(kind, cfg, tree(kind, cfg)),
    }
    return backbones.Backbone("random", parts)


def measure(way: str, batch: int, tokens: int, sizes: Sizes) -> dict[str, Any]:
    """Seconds per batch without compilation, and of single steps."""
    import numpy as np

    from maskgit_prompt.decoding.config import DecodeConfig
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.models.prompts import Prompt, stack
    from maskgit_prompt.tasks.generation.sampling import Sampler

    mesh, backbone = sharding.make_mesh(), make_backbone(way, sizes)
    drawn = np.random.default_rng(0).standard_normal((batch, tokens, sizes.width), np.float32)
    prompts = Prompt(tokens=drawn)
    if way == "uncached":
        step = forward(backbone, mesh, batch, prompts)
        seconds = timed(step, 1 + sizes.uncached_steps)
        each = statistics.median(seconds[1:])
        found = {"seconds": each * sizes.side**2, "first_step": each, "last_step": None}
        compile_seconds = seconds[0] - each
    else:
        config = DecodeConfig(batch_size=batch, steps=sizes.masked_steps)
        sampler = Sampler(backbone, mesh, config)
        key = sharding.make_key(0, mesh)
        seconds = timed(lambda: sampler.codes(stack([prompts]), key), 3)
        found = {"seconds": min(seconds[1:])}
        compile_seconds = seconds[0] - found["seconds"]
        if way == "masked":
            each = found["seconds"] / sizes.masked_steps
            found |= {"first_step": each, "last_step": None}
        else:
            steps = cached_steps(backbone, mesh, batch, prompts)
            few = max(1, len(steps) // 8)
            found["first_step"] = statistics.median(steps[1 : 1 + few])  # 0 compiles
            found["last_step"] = statistics.median(steps[-few:])
    last = found["last_step"]
    return found | {
        "images_a_second": batch / found["seconds"],
        "growth": last and last / found["first_step"],
        "compile_seconds": max(0.0, compile_seconds),
        "peak_gib": measuring.peak_gib(),
    }


def timed(run, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds


def forward(backbone, mesh, batch: int, prompts):
    """A function that reads a whole image's codes and predicts one."""
    import jax
    import numpy as np
    from flax import nnx

    part = backbone.part("transformer")
    graphdef, weights = part.graphdef(), part.placed(mesh)
    codes = np.zeros((batch, part.cfg.length), np.int32)

    @jax.jit
    def best(weights, codes, prompts):
        return nnx.merge(graphdef, weights).code_logits(codes, prompts)[:, -1].argmax(-1)

    return lambda: jax.block_until_ready(best(weights, codes, prompts))


def cached_steps(backbone, mesh, batch: int, prompts) -> list[float]:
    """Seconds of every step of an image's codes, one call per step."""
    import functools

    import jax
    import numpy as np
    from flax import nnx

    part = backbone.part("transformer")
    graphdef, weights = part.graphdef(), part.placed(mesh)

    @jax.jit
    def start(weights, prompts):
        return nnx.merge(graphdef, weights).start(np.zeros((batch, 0), np.int32), prompts)

    @functools.partial(jax.jit, donate_argnums=1)
    def advance(weights, memory, code, index):
        return nnx.merge(graphdef, weights).advance(memory, code, index)

    _, memory = start(weights, prompts)
    code, seconds = np.zeros(batch, np.int32), []
    for index in range(part.cfg.length - 1):
        began = time.perf_counter()
        logits, memory = advance(weights, memory, code, np.int32(index))
        jax.block_until_ready(logits)
        seconds.append(time.perf_counter() - began)
    return seconds


COLUMNS = {
    "batch": "images per batch",
    "tokens": "prompt tokens",
    "images_a_second": "images/s",
    "seconds": "s per batch",
    "first_step": "first step ms",
    "last_step": "last step ms",
    "growth": "growth",
    "compile_seconds": "compile s",
    "peak_gib": "peak GiB",
}


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["  ".join([f"{'way':<9}", *COLUMNS.values()])]
    for row in rows:
        cells = [f"{row['way']:<9}"]
        for key, name in COLUMNS.items():
            value = row[key]
            if key.endswith("_step") and value is not None:
                value *= 1000
            text = (
                "-" if value is None else f"{value}" if isinstance(value, int) else f"{value:.3g}"
            )
            cells.append(f"{text:>{len(name)}}")
        lines.append("  ".join(cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="tiny models")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--batches", nargs="+", type=int, help="images decoded at once")
    parser.add_argument("--tokens", nargs="+", type=int, help="prompt lengths")
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file to write")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = SMALL if args.small else Sizes()
    if args.one:
        way, batch, tokens = args.one
        print(json.dumps(measure(way, int(batch), int(tokens), sizes)))
        return
    rows = []
    cases = itertools.product(args.ways, args.batches or sizes.batches, args.tokens or sizes.tokens)
    for way, batch, tokens in cases:
        flags = ["--one", way, str(batch), str(tokens), *(["--small"] if args.small else [])]
        found = measuring.in_a_process(__file__, flags)
        rows.append({"way": way, "batch": batch, "tokens": tokens, **found})
        print(f"{way}, {batch} images, {tokens} prompt tokens: done", file=sys.stderr)
    print(table(rows))
    if args.out:
        measuring.write_json(args.out, {"rows": rows, "sizes": dataclasses.asdict(sizes)})


if __name__ == "__main__":
    main()
