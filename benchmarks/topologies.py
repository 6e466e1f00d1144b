"""Whether pretraining compiles for TPU pods, without one: memory of a device, seconds to compile.

    pip install libtpu
    python benchmarks/topologies.py --out=topologies.json
    python benchmarks/topologies.py --cases taming:transformer --chips v5p --batch-size=32

libtpu compiles for the description of a slice, without its chips: the whole step (all losses,
gradients, updates, averages) of each configs/pretrain_*.py, at its own batch size, with bfloat16.
Transformers' weights are split over the chips of a host (mesh.fsdp), batches over all chips.
Nothing is run, so there are no speeds. Each case is a process of its own.

The networks of perceptual losses need no files: no weight has a value here.
"""

import argparse
import json
import os
import pathlib
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import measuring  # noqa: E402

# The chips -> (libtpu's name of a slice of 16, GiB of memory of a chip).
SLICES = {"v5p": ("v5p:2x2x4", 95), "v6e": ("v6e:4x4", 32)}
CONFIGS = {
    f"{name}:{stage}": f"configs/pretrain_{name}.py:{stage}"
    for name in ("imagenet256", "imagenet512", "taming")
    for stage in ("tokenizer", "transformer")
}
FSDP = 4  # chips of a host


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    found.add_argument("--cases", nargs="*", default=list(CONFIGS), choices=list(CONFIGS))
    found.add_argument("--chips", nargs="*", default=list(SLICES), choices=list(SLICES))
    found.add_argument("--batch-size", type=int, default=0, help="0: the config's")
    found.add_argument("--micro-batches", type=int, default=1)
    found.add_argument("--out", type=pathlib.Path)
    found.add_argument("--one", nargs=2, metavar=("CASE", "CHIPS"), help=argparse.SUPPRESS)
    return found


def described(chips: str) -> list:
    """The devices of a slice."""
    # No TPU is attached: libtpu must not look for one.
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_LOG_DIR": "disabled",
    }
    from jax.experimental import topologies

    return list(topologies.get_topology_desc(platform="tpu", topology_name=chips).devices)


def lower(config, tokenizer, devices: list):
    """The step of a config's stage, lowered for these devices; nothing is in memory.

    Args:
      tokenizer: the config of the tokenizer whose codes a transformer learns.

    Returns:
      (lowered, number of trained parameters).
    """
    import jax
    import numpy as np

    from maskgit_prompt import params
    from maskgit_prompt.backbones import Backbone, Part, kinds
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.tasks.pretraining.networks import make_network
    from maskgit_prompt.tuning import game, train
    from maskgit_prompt.tuning.optimizers import check_paths, make_optimizer

    mesh = sharding.make_mesh(fsdp=FSDP if config.stage == "transformer" else 1, devices=devices)
    parts = {}
    if config.stage == "transformer":
        sizes = kinds()[tokenizer.tokenizer_kind].config(**tokenizer.tokenizer)
        parts["tokenizer"] = Part(tokenizer.tokenizer_kind, sizes, {})
    network = make_network(config, Backbone(config.name, parts), classes=1000)

    def at(x, where):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

    def placed(branch: str, make, axes):
        tree = {branch: jax.eval_shape(make)}
        return jax.tree.map(at, tree, sharding.param_shardings(tree, mesh, axes))

    def moments(tx, own):
        state = jax.eval_shape(tx.init, own)
        return jax.tree.map(at, state, sharding.optimizer_shardings(tx, own, mesh))

    init = lambda: network.init(jax.random.key(0))
    tree = placed(config.stage, init, Part(network.kind, network.cfg, {}).axes)
    size, split = config.train.batch_size, jax.NamedSharding(mesh, sharding.BATCH)
    row = lambda shape, dtype: jax.ShapeDtypeStruct((size, *shape), dtype, sharding=split)
    sharding.check_batch(size, config.train.micro_batches, mesh)
    stats, frozen = (), ()
    if config.stage == "tokenizer":
        loss, stats, frozen, tree = _tokenizer_losses(config, network, tree, placed)
        side = config.data.size
        batch = {"pixels": row((side, side, 3), np.uint8)}
        batch |= {name: row((), np.float32) for name in ("adversarial", "penalty")}
    else:
        loss = _transformer_loss(config, network)
        batch = {"codes": row((network.cfg.length,), np.int32), "class_ids": row((), np.int32)}
    check_paths(config.optimizer, tree)

    # The state, as train.init_state and game.init_game make it of arrays.
    renewed, rest = train.split_stats(tree, stats)
    ema = config.train.ema_decay
    how = {"micro_batches": config.train.micro_batches, "ema_decay": ema}
    players = loss if isinstance(loss, dict) else {}
    if players:
        patterns = {name: player.patterns for name, player in players.items()}
        trainable, left = params.split_among(rest, patterns)
        opt = {name: moments(player.tx, trainable[name]) for name, player in players.items()}
    else:
        tx = make_optimizer(config.optimizer, config.train.steps)
        trainable, left = params.split(rest, (*(f"!{p}" for p in frozen), *config.trainable))
        opt = moments(tx, trainable)
    everywhere = sharding.replicated(mesh)
    state = train.TrainState(
        step=jax.ShapeDtypeStruct((), np.int32, sharding=everywhere),
        trainable=trainable,
        opt=opt,
        ema=trainable if ema else None,
        stats=renewed,
        players=tuple(players),
    )
    if players:
        step = game.make_game_step(players, state, **how)
    else:
        step = train.make_step(loss, tx, state, **how)
    key = at(jax.eval_shape(lambda: jax.random.key(0)), everywhere)
    with jax.set_mesh(mesh):
        return step.lower(state, left, batch, key), params.count(trainable)


def _tokenizer_losses(config, network, tree, placed):
    """(loss or players, stats, frozen, whole tree)."""
    import numpy as np

    from maskgit_prompt.tasks.pretraining import tokenizer

    codebook = np.zeros((network.cfg.codebook, network.cfg.embedding), np.float32)
    how = tokenizer.training(config, network, codebook, _perceptual(config))
    for branch, (make, axes) in how.beside.items():
        tree |= placed(branch, make, axes)
    return how.loss, how.stats, how.frozen, tree


def _perceptual(config):
    """The network that reconstructions are compared in, with no weights but their shapes."""
    from maskgit_prompt.models.lpips import LpipsConfig
    from maskgit_prompt.tasks import perceptual

    if config.reconstruction.network == perceptual.EFFICIENTNET:
        network = perceptual.efficientnet_shapes(config.dtype)
    else:
        network = perceptual.lpips_shapes(LpipsConfig("vgg", config.dtype))
    return perceptual.of_network(network, config.data.size)


def _transformer_loss(config, network):
    from maskgit_prompt import backbones
    from maskgit_prompt.tasks.generation.loss import class_loss
    from maskgit_prompt.tasks.generation.objectives import make_objective

    decoding = backbones.kinds()[network.kind].decoding
    return class_loss(network.graphdef, make_objective(config, decoding, network.cfg.codebook))


def config_of(case: str, batch_size: int = 0, micro_batches: int = 1):
    """(the case's config, the config of its tokenizer)."""
    from maskgit_prompt.config.command_line import load

    cases = (case, f"{case.split(':')[0]}:tokenizer")
    config, tokenizer = (load(f"{ROOT / CONFIGS[name]}") for name in cases)
    config.train.batch_size = batch_size or config.train.batch_size
    config.train.micro_batches = micro_batches
    return config, tokenizer


def measure(case: str, chips: str, args: argparse.Namespace) -> dict[str, Any]:
    name, memory = SLICES[chips]
    devices = described(name)
    began = time.perf_counter()
    lowered, count = lower(*config_of(case, args.batch_size, args.micro_batches), devices)
    traced = time.perf_counter()
    row = {"devices": len(devices), "parameters": count, "gib_of_a_chip": memory}
    try:
        compiled = lowered.compile()
    except Exception as error:  # of libtpu: too much memory is an answer
        return row | {"error": " ".join(str(error).split())[:300]}
    took = compiled.memory_analysis()
    parts = ("argument_size_in_bytes", "temp_size_in_bytes")
    return row | {
        "gib": sum(getattr(took, part) for part in parts) / 2**30,
        "trace_seconds": traced - began,
        "compile_seconds": time.perf_counter() - traced,
    }


def main() -> None:
    args = parser().parse_args()
    if args.one:
        print(json.dumps(measure(*args.one, args)))
        return
    rows = []
    print(f"{'case':26}{'chips':>12}{'parameters':>16}{'GiB of':>10}{'':6}{'compile s':>10}")
    for case in args.cases:
        for chips in args.chips:
            flags = ["--one", case, chips, f"--batch-size={args.batch_size}"]
            flags.append(f"--micro-batches={args.micro_batches}")
            row = measuring.in_a_process(__file__, flags)
            rows.append({"case": case, "chips": chips, **row})
            name = f"{row['devices']} x {chips}"
            ends = f"{row['compile_seconds']:10.0f}" if "gib" in row else f"  {row['error']}"
            gib = f"{row['gib']:.1f}" if "gib" in row else "?"
            print(
                f"{case:26}{name:>12}{row['parameters']:>16,}{gib:>10}"
                f" /{row['gib_of_a_chip']:4}{ends}",
                flush=True,
            )
    if args.out:
        measuring.write_json(args.out, {"cases": rows})


if __name__ == "__main__":
    main()
