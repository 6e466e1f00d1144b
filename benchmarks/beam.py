"""What the cache saves in beam search: an encoder-decoder with 5 beams, in one process.

    python benchmarks/beam.py --out=beam.json
    python benchmarks/beam.py --small            # some seconds, to see that it runs

Random weights of OFA-tiny's decoder (4 layers x 256), images of 160 x 160 and 12 tokens of text,
prefixes of 16 tokens in both stacks. Two ways to the same hypotheses:

    cached     the package's search: a step reads one token of each hypothesis
    uncached   every step reads the hypotheses from their start, with as many tokens as there are
               by then; its steps are timed one by one, without the search around them

Both are compiled before they are timed, and take turns, so that what else runs on the machine
slows both. The ratio is that of the medians.
"""

import argparse
import dataclasses
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from benchmarks import measuring  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured; tokens: of an answer, without </s>."""

    size: str = "tiny"
    side: int = 160
    text: int = 12
    prefix: int = 16
    batch: int = 4
    beams: int = 5
    tokens: int = 16
    repeats: int = 5


SMALL = Sizes(side=32, text=3, prefix=2, batch=1, beams=2, tokens=2, repeats=1)


def make_network(sizes: Sizes, small: bool):
    """(network, memory, prefixes) with random weights."""
    import jax
    import numpy as np
    from flax import nnx

    from maskgit_prompt import params
    from maskgit_prompt.models import ofa, prefixes
    from maskgit_prompt.models.prompts import Prompt

    cfg = ofa.CONFIGS[sizes.size]
    if small:
        cfg = dataclasses.replace(
            cfg, vocabulary=50, width=8, layers=(1, 2), heads=(2, 2), mlp=(8, 8), stem=(1, 1, 1)
        )
    graphdef, outline = params.outline(lambda rngs: ofa.OFA(cfg, rngs=rngs))
    rng = np.random.default_rng(0)
    draw = lambda x: np.abs(rng.standard_normal(x.shape, np.float32)) * np.float32(0.05)
    network = nnx.merge(graphdef, jax.tree.map(draw, outline))
    prefix = lambda layers: Prompt(
        prefix=rng.standard_normal((sizes.batch, layers, 2, sizes.prefix, cfg.width), np.float32)
    )
    made = prefixes.Prefixes(encoder=prefix(cfg.layers[0]), decoder=prefix(cfg.layers[1]))
    images = rng.standard_normal((sizes.batch, sizes.side, sizes.side, 3), np.float32)
    ids = rng.integers(4, cfg.vocabulary, (sizes.batch, sizes.text))
    encode = jax.jit(lambda network, images, ids: network.encode(images, ids, made))
    return network, encode(network, images, ids), made


def measure(sizes: Sizes, small: bool = False) -> dict[str, float]:
    """Medians of seconds of both ways, and their ratio."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from maskgit_prompt.decoding.beam import EncoderDecoder, SearchConfig, make_search

    network, memory, prefixes = make_network(sizes, small)
    search = make_search(jax.tree_util.Partial(EncoderDecoder, network, memory, prefixes))
    # As many tokens for every hypothesis: both ways take the same number of steps.
    config = SearchConfig(sizes.beams, sizes.tokens, sizes.tokens)
    rows = np.repeat(np.arange(sizes.batch), sizes.beams)
    repeated = memory.replace(x=memory.x[rows], seen=memory.seen[rows])
    many = jax.tree.map(lambda x: x[rows], prefixes)

    @jax.jit
    def read(network, memory, prefixes, ids):
        return network.decode(memory, ids, prefixes)[:, -1]

    tokens = jnp.full((len(rows), sizes.tokens + 1), 5).at[:, 0].set(0)

    def uncached():
        for length in range(1, sizes.tokens + 2):
            jax.block_until_ready(read(network, repeated, many, tokens[:, :length]))

    ways = {
        "cached": lambda: jax.block_until_ready(search(config, sizes.batch)),
        "uncached": uncached,
    }
    seconds = {name: [] for name in ways}
    for repeat in range(1 + sizes.repeats):
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            if repeat:  # the first one compiles
                seconds[name].append(time.perf_counter() - began)
    found = {name: statistics.median(some) for name, some in seconds.items()}
    return found | {"ratio": found["uncached"] / found["cached"], "steps": sizes.tokens + 1}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a tiny model")
    parser.add_argument("--batch", type=int, help="examples decoded at once")
    parser.add_argument("--tokens", type=int, help="tokens of an answer")
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file to write")
    args = parser.parse_args()
    sizes = SMALL if args.small else Sizes()
    asked = {"batch": args.batch, "tokens": args.tokens}
    sizes = dataclasses.replace(sizes, **{k: x for k, x in asked.items() if x is not None})
    found = measure(sizes, args.small)
    print(
        f"beams {sizes.beams}, examples {sizes.batch}, steps {found['steps']}: "
        f"cached {found['cached']:.3g} s, uncached {found['uncached']:.3g} s, "
        f"{found['ratio']:.1f} times as fast"
    )
    if args.out:
        measuring.write_json(args.out, {"found": found, "sizes": dataclasses.asdict(sizes)})


if __name__ == "__main__":
    main()
