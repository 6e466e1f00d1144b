"""What prompt tuning costs at the published size: seconds, compile time and memory of each stage.

    python benchmarks/tuning.py --out=tuning.json
    python benchmarks/tuning.py --small              # a few seconds, to see that it runs

Random weights in the shapes of the published models: 256 x 256 images, 16 x 16 codes of 1024, a
transformer of 24 layers x 768 with 16 heads, 2025 entries, 256 codes and 32 prompt tokens; batch 4,
float32. Each stage runs in a process of its own, whose peak of resident memory is reported:

    encode   a batch of images to codes
    forward  the transformer's logits of a batch under its prompt
    step     a whole step of tuning from stored codes: masking, loss, gradient, update
    decode   12 steps of parallel decoding of a batch, and its images

What keeps memory and time low, all by the package itself: frozen weights are in memory once
(stored.aligned) and have no gradient and no optimizer state; layers are scanned, so one is compiled
and not 24; codes are stored; and --remat (the default) keeps only matrix products.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from benchmarks import measuring  # noqa: E402

STAGES = ("encode", "forward", "step", "decode")
# Seconds of the reference on two quiet cores, and the aim: (seconds, compile s, peak GiB).
REFERENCE = {"step": (5.59, 68.0, 10.8), "decode": (14.7, None, None)}
AIM = {"step": (2.8, 15.0, 3.0), "decode": (13.0, None, None)}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured; the defaults are the published size."""

    tokenizer: dict = dataclasses.field(default_factory=dict)
    transformer: dict = dataclasses.field(default_factory=dict)
    codebook: int = 1024
    classes: int = 1000
    tokens: int = 32
    batch: int = 4
    steps: int = 12


SMALL = Sizes(
    tokenizer={"image_size": 16, "codebook": 32, "embedding": 4, "filters": 8, "groups": 2}
    | {"multipliers": (1, 2), "blocks": 1},
    transformer={"width": 16, "layers": 2, "heads": 2, "mlp": 32},
    codebook=32,
    classes=5,
    tokens=2,
    batch=2,
    steps=3,
)


# --- The models -----------------------------------------------------------------------------------


def make_backbone(sizes: Sizes):
    """A backbone with random weights, in memory like a loaded one."""
    from maskgit_prompt import backbones
    from maskgit_prompt.models.masked import MaskedConfig
    from maskgit_prompt.models.tokenizer import TokenizerConfig

    tokenizer = TokenizerConfig(**sizes.tokenizer)
    transformer = MaskedConfig(
        codebook=sizes.codebook,
        classes=sizes.classes,
        length=tokenizer.length,
        **sizes.transformer,
    )
    parts = {
        "tokenizer": backbones.Part("vq", tokenizer, measuring.random_tree("vq", tokenizer)),
        "transformer": backbones.Part(
            "masked", transformer, measuring.random_tree("masked", transformer)
        ),
    }
    return backbones.Backbone("random", parts)


# --- The stages: each returns the function to time ------------------------------------------------


def encode(sizes: Sizes, remat: bool) -> Callable[[], Any]:
    import numpy as np

    from maskgit_prompt.backbones.compiled import make_encoder
    from maskgit_prompt.devices import sharding

    part = make_backbone(sizes).part("tokenizer")
    run, _ = make_encoder(part, sharding.make_mesh())
    size = part.cfg.image_size
    images = np.random.default_rng(0).integers(0, 256, (sizes.batch, size, size, 3), np.uint8)
    return lambda: run(images)


def forward(sizes: Sizes, remat: bool) -> Callable[[], Any]:
    import jax
    from flax import nnx

    from maskgit_prompt.devices import sharding

    mesh = sharding.make_mesh()
    part = make_backbone(sizes).part("transformer")
    graphdef, weights = part.graphdef(), part.placed(mesh)

    @jax.jit
    def logits(weights, codes, prompt):
        return nnx.merge(graphdef, weights).code_logits(codes, prompt)

    batch = sharding.to_global(
        {"codes": random_codes(sizes, part), "prompt": zeros(sizes, part)}, mesh
    )
    with jax.set_mesh(mesh):
        return lambda: jax.block_until_ready(logits(weights, batch["codes"], batch["prompt"]))


def step(sizes: Sizes, remat: bool) -> Callable[[], Any]:
    import jax
    import numpy as np

    from maskgit_prompt import params
    from maskgit_prompt.config import defaults
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.models.prompt import AXES, PromptConfig, PromptGenerator
    from maskgit_prompt.tasks.generation.loss import prompt_loss
    from maskgit_prompt.tasks.generation.objectives import make_objective
    from maskgit_prompt.tuning import train
    from maskgit_prompt.tuning.optimizers import make_optimizer

    config = defaults.transfer()
    mesh = sharding.make_mesh()
    part = make_backbone(sizes).part("transformer")
    cfg = PromptConfig("factorized", sizes.tokens, part.cfg.width, classes=10, embedding=32)
    generator, init = params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    drawn = jax.device_get(jax.jit(init)(jax.random.key(0)))
    tree = {"transformer": part.placed(mesh), "prompt": sharding.place(drawn, mesh, AXES)}
    tx = make_optimizer(config.optimizer, config.train.steps)
    state, frozen = train.init_state(tree, config.trainable, tx, mesh, ema=False)
    model = part.graphdef(dataclasses.replace(part.cfg, remat=remat))
    objective = make_objective(config, part.decoding, part.cfg.codebook)
    step_fn = train.make_step(prompt_loss(model, generator, objective), tx, state)
    ids = np.zeros(sizes.batch, np.int32)
    host = {"codes": random_codes(sizes, part), "class_ids": ids, "instance_ids": ids}
    key = sharding.make_key(0, mesh)

    def run():
        nonlocal state
        with jax.set_mesh(mesh):
            state, metrics = step_fn(state, frozen, sharding.to_global(host, mesh), key)
        return jax.block_until_ready(metrics)

    return run


def decode(sizes: Sizes, remat: bool) -> Callable[[], Any]:
    import numpy as np

    from maskgit_prompt.decoding.config import DecodeConfig
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.models.prompts import stack
    from maskgit_prompt.tasks.generation.sampling import Sampler

    mesh = sharding.make_mesh()
    backbone = make_backbone(sizes)
    config = DecodeConfig(steps=sizes.steps, batch_size=sizes.batch)
    sampler = Sampler(backbone, mesh, config)
    headers = stack([zeros(sizes, backbone.part("transformer"))])
    key = sharding.make_key(0, mesh)
    return lambda: np.asarray(sampler.images(headers, key))


def random_codes(sizes: Sizes, part):  # [B, L]
    import numpy as np

    shape = (sizes.batch, part.cfg.length)
    return np.random.default_rng(0).integers(0, sizes.codebook, shape, np.int32)


def zeros(sizes: Sizes, part):
    """A prompt of zeros for each image of a batch."""
    import numpy as np

    from maskgit_prompt.models.prompts import Prompt

    return Prompt(tokens=np.zeros((sizes.batch, sizes.tokens, part.cfg.width), np.float32))


# --- Measuring ------------------------------------------------------------------------------------


def measure(stage: str, sizes: Sizes, repeats: int, remat: bool) -> dict[str, Any]:
    """Seconds of the calls after the first; the first call's extra time is the compile time."""
    run = globals()[stage](sizes, remat)
    seconds = []
    for _ in range(1 + repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds[1:])
    return {
        "seconds": median,
        "compile_seconds": max(0.0, seconds[0] - median),
        "peak_gib": measuring.peak_gib(),
        "all_seconds": seconds[1:],
    }


def table(rows: dict[str, dict[str, Any]], small: bool) -> str:
    """The measurements; at the published size with the reference's and the aim in brackets."""
    lines = [f"{'stage':<8} {'seconds':>22} {'compile s':>22} {'peak GiB':>22}"]
    for stage, row in rows.items():
        cells = []
        for column, name in enumerate(("seconds", "compile_seconds", "peak_gib")):
            known = [None if small else found.get(stage) for found in (REFERENCE, AIM)]
            known = [values[column] for values in known if values and values[column] is not None]
            beside = f" ({known[0]:g}, aim {known[1]:g})" if known else ""
            cells.append(f"{row[name]:.2f}{beside}")
        lines.append(f"{stage:<8} " + " ".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="tiny models")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls of each stage")
    parser.add_argument("--remat", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file to write")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = SMALL if args.small else Sizes()
    if args.stage:
        print(json.dumps(measure(args.stage, sizes, args.repeats, args.remat)))
        return
    flags = [f"--repeats={args.repeats}", "--remat" if args.remat else "--no-remat"]
    flags += ["--small"] if args.small else []
    rows = {
        stage: measuring.in_a_process(__file__, [f"--stage={stage}", *flags])
        for stage in args.stages
    }
    print(table(rows, args.small))
    if args.out:
        found = {
            "stages": rows,
            "sizes": dataclasses.asdict(sizes),
            "remat": args.remat,
            "repeats": args.repeats,
            "reference": REFERENCE,
            "aim": AIM,
        }
        measuring.write_json(args.out, found)


if __name__ == "__main__":
    main()
