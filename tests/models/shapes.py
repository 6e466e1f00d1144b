"""Names, shapes, logical axes and counts of the published sizes, as text.

python -m tests.models.shapes        # writes tests/models/shapes/*.txt anew
"""

import pathlib

from maskgit_prompt import backbones, params
from maskgit_prompt.devices import sharding
from maskgit_prompt.models import causal, causal_sizes, masked, ofa, tokenizer, vqgan

FOLDER = pathlib.Path(__file__).parent / "shapes"
SIZES = {
    f"{network.KIND.part}_{name}": (network.KIND, cfg)
    for network, sizes in (
        (tokenizer, tokenizer),
        (vqgan, vqgan),
        (masked, masked),
        (causal, causal_sizes),
        (ofa, ofa),
    )
    for name, cfg in sizes.CONFIGS.items()
}


def describe(name: str) -> str:
    """One line per parameter: path, shape and axes; the number of all at the end."""
    kind, cfg = SIZES[name]
    tree = backbones.abstract(backbones.make_module(kind.name, cfg))
    lines = []
    for path, leaf in sorted(params.flatten(tree).items()):
        axes = sharding.axes(path, leaf.shape, kind.axes)
        shape = " x ".join(map(str, leaf.shape))
        lines.append(f"{path}: {shape}; {'on every device' if axes is None else ', '.join(axes)}")
    return "\n".join([*lines, f"{params.count(tree):,} parameters"]) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in SIZES:
        (FOLDER / f"{name}.txt").write_text(describe(name))
