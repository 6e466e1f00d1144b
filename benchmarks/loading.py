"""What importing and loading the published models costs: seconds and memory.

    python benchmarks/loading.py --out=loading.json
    python benchmarks/loading.py --small             # a few seconds, to see that it runs

Random weights in the shapes of MaskGIT's 256 x 256 models are written as the published files are
(flax msgpack, 0.9 GB in all; --folder says where). Each stage runs in a process of its own:

    start    the imports and the start of JAX, which the other two need as well
    import   configs/import.py, from the files to a backbone's folder
    load     the folder onto a mesh of all devices: every weight in place, as float32
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import measuring  # noqa: E402

STAGES = ("start", "import", "load")
FILES = ("tokenizer_checkpoint", "transformer_checkpoint")


def write_files(folder: pathlib.Path, small: bool) -> int:
    """The two checkpoints; returns their bytes."""
    import numpy as np
    from flax import serialization, traverse_util

    from maskgit_prompt.models import masked, tokenizer

    rng = np.random.default_rng(0)
    shapes = {
        FILES[0]: tokenizer_shapes(tokenizer.CONFIGS["imagenet256"], small),
        FILES[1]: transformer_shapes(masked.CONFIGS["imagenet256"], small),
    }
    for file, named in shapes.items():
        flat = {f"params/{n}": rng.standard_normal(s, np.float32) for n, s in named.items()}
        tree = traverse_util.unflatten_dict(flat, sep="/")
        (folder / file).write_bytes(serialization.msgpack_serialize(tree))
    return sum((folder / file).stat().st_size for file in FILES)


def transformer_shapes(cfg, small: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a published transformer's file."""
    if small:
        cfg = dataclasses.replace(cfg, layers=2, width=16, heads=2, mlp=32)
    d, n, h = cfg.width, cfg.heads, cfg.width // cfg.heads
    norm = lambda name, width=d: {f"{name}/scale": (width,), f"{name}/bias": (width,)}
    dense = lambda name, i, o: {f"{name}/kernel": (i, o), f"{name}/bias": (o,)}
    found = {
        "Embed_0/word_embeddings/embedding": (cfg.vocabulary, d),
        "Embed_0/position_embeddings/embedding": (1 + cfg.length, d),
        "MlmLayer_0/mlm_bias/bias": (cfg.vocabulary,),
        **norm("Embed_0/embeddings_ln"),
        **dense("MlmLayer_0/mlm_dense", d, d),
        **norm("MlmLayer_0/mlm_ln"),
    }
    for i in range(cfg.layers):
        layer = f"TransformerLayer_{i}"
        for name in ("query", "key", "value"):
            found[f"{layer}/Attention_0/self_attention/{name}/kernel"] = (d, n, h)
            found[f"{layer}/Attention_0/self_attention/{name}/bias"] = (n, h)
        found[f"{layer}/Attention_0/self_attention/out/kernel"] = (n, h, d)
        found[f"{layer}/Attention_0/self_attention/out/bias"] = (d,)
        found |= norm(f"{layer}/Attention_0/attention_output_ln")
        found |= dense(f"{layer}/Mlp_0/intermediate_output", d, cfg.mlp)
        found |= dense(f"{layer}/Mlp_0/layer_output", cfg.mlp, d)
        found |= norm(f"{layer}/Mlp_0/layer_output_ln")
    return found


def tokenizer_shapes(cfg, small: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a published tokenizer's file."""
    filters = 32 if small else cfg.filters
    widths = [filters * m for m in cfg.multipliers]
    found = {"quantizer/codebook": (cfg.codebook, cfg.embedding)}

    def part(name: str, first: int, last: int, blocks: list[tuple[int, int]], convs: list) -> None:
        for i, (inputs, outputs) in enumerate(blocks):
            block = f"{name}/ResBlock_{i}"
            for j, width in enumerate((inputs, outputs)):
                found[f"{block}/GroupNorm_{j}/scale"] = (width,)
                found[f"{block}/GroupNorm_{j}/bias"] = (width,)
                found[f"{block}/Conv_{j}/kernel"] = (3, 3, width, outputs)
            if inputs != outputs:
                found[f"{block}/Conv_2/kernel"] = (1, 1, outputs, outputs)
        for i, (size, inputs, outputs, bias) in enumerate(convs):
            found[f"{name}/Conv_{i}/kernel"] = (size, size, inputs, outputs)
            if bias:
                found[f"{name}/Conv_{i}/bias"] = (outputs,)
        found[f"{name}/GroupNorm_0/scale"] = (last,)
        found[f"{name}/GroupNorm_0/bias"] = (last,)

    def stack(first: int, levels: list[int]) -> list[tuple[int, int]]:
        inputs = [first, *levels]
        pairs = zip(inputs, levels, strict=False)
        return [pair for i, o in pairs for pair in [(i, o), *[(o, o)] * (cfg.blocks - 1)]]

    top = widths[-1]
    middle = [(top, top)] * cfg.blocks
    part(
        "encoder",
        filters,
        top,
        stack(filters, widths) + middle,
        [(3, 3, filters, False), (1, top, cfg.embedding, True)],
    )
    ups = [(3, width, width, True) for width in reversed(widths[1:])]
    part(
        "decoder",
        top,
        filters,
        middle + stack(top, widths[::-1]),
        [(3, cfg.embedding, top, True), *ups, (3, filters, 3, True)],
    )
    return found


def run_stage(stage: str, folder: pathlib.Path) -> dict[str, float]:
    import jax

    from maskgit_prompt import backbones, main
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.jobs import import_weights  # noqa: F401

    mesh = sharding.make_mesh()
    began = time.perf_counter()
    if stage == "import":
        files = ",".join(str(folder / file) for file in FILES)
        flags = ["--config.format=maskgit", f"--config.source={files}"]
        config = f"--config={ROOT}/configs/import.py"
        if main.main(["", config, *flags, f"--workdir={folder / 'model'}"]):
            sys.exit(1)
    if stage == "load":
        backbone = backbones.load(str(folder / "model"))
        jax.block_until_ready([part.placed(mesh) for part in backbone.parts.values()])
    return {
        "seconds": time.perf_counter() - began,
        "peak_gib": measuring.peak_gib(),
    }


def table(rows: dict[str, dict[str, float]], gib: float) -> str:
    lines = [f"{'stage':<8} {'seconds':>9} {'peak GiB':>9} {'above start, x files':>22}"]
    for stage, row in rows.items():
        ratio = (row["peak_gib"] - rows["start"]["peak_gib"]) / gib
        lines.append(f"{stage:<8} {row['seconds']:>9.2f} {row['peak_gib']:>9.2f} {ratio:>22.2f}")
    return "\n".join([*lines, f"files: {gib:.3f} GiB"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="tiny models")
    parser.add_argument("--folder", type=pathlib.Path, help="where files go; default: temporary")
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file to write")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stage:
        print(json.dumps(run_stage(args.stage, args.folder)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = pathlib.Path(name)
        gib = write_files(folder, args.small) / 2**30
        rows = {
            stage: measuring.in_a_process(__file__, [f"--stage={stage}", f"--folder={folder}"])
            for stage in STAGES
        }
    print(table(rows, gib))
    if args.out:
        measuring.write_json(args.out, {"stages": rows, "files_gib": gib})


if __name__ == "__main__":
    main()
