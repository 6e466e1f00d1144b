"""The files that perceptual distances are imported from, written without PyTorch."""

import pathlib

import numpy as np

from tests.golden_models import Case
from tests.importers.pytorch_files import tensor, write_old, write_zip

Arrays = dict[str, np.ndarray]

# EfficientNet-Lite0, block by block: size and stride of the depthwise convolution, inputs, outputs.
BLOCKS = (
    (3, 1, 32, 16),
    (3, 2, 16, 24),
    (3, 1, 24, 24),
    (5, 2, 24, 40),
    (5, 1, 40, 40),
    (3, 2, 40, 80),
    (3, 1, 80, 80),
    (3, 1, 80, 80),
    (5, 1, 80, 112),
    (5, 1, 112, 112),
    (5, 1, 112, 112),
    (5, 2, 112, 192),
    (5, 1, 192, 192),
    (5, 1, 192, 192),
    (5, 1, 192, 192),
    (3, 1, 192, 320),
)


def efficientnet() -> Arrays:
    """A state dict of EfficientNet-Lite0 with random weights and norms that all differ."""
    rng, found = np.random.default_rng(0), {}

    def add(conv: str, norm: str, *shape: int) -> None:
        width, fan_in = shape[0], np.prod(shape[1:])
        found[f"{conv}.weight"] = rng.standard_normal(shape) * np.sqrt(0.02 / fan_in)
        found[f"{norm}.weight"] = rng.uniform(0.5, 1.5, width)
        found[f"{norm}.bias"] = rng.uniform(-0.5, 1.0, width)
        found[f"{norm}.running_mean"] = rng.uniform(-0.05, 0.05, width)
        found[f"{norm}.running_var"] = rng.uniform(0.005, 0.05, width)  # so small that 0.001 counts
        found[f"{norm}.num_batches_tracked"] = np.int64(1)

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    for i, (size, _, inputs, outputs) in enumerate(BLOCKS):
        inside = inputs * 6 if i else inputs
        block = f"_blocks.{i}."
        if i:
            add(f"{block}_expand_conv", f"{block}_bn0", inside, inputs, 1, 1)
        add(f"{block}_depthwise_conv", f"{block}_bn1", inside, 1, size, size)
        add(f"{block}_project_conv", f"{block}_bn2", outputs, inside, 1, 1)
    add("_conv_head", "_bn1", 1280, 320, 1, 1)
    found["_fc.weight"] = rng.standard_normal((1000, 1280)) / 30
    found["_fc.bias"] = rng.standard_normal(1000)
    return {n: x if x.dtype == np.int64 else x.astype(np.float32) for n, x in found.items()}


def lpips(network: str) -> tuple[Arrays, Arrays]:
    """(torchvision's state dict, LPIPS's linear layers) with the weights of the golden case."""
    parameters = Case(f"lpips/{network}").parameters
    linear = {name: x for name, x in parameters.items() if name.startswith("lin")}
    convolutions = {name: x for name, x in parameters.items() if name not in linear}
    # Large in the published files, and of no use here.
    classifier = {"classifier.6.weight": np.ones((2, 3)), "classifier.6.bias": np.ones(2)}
    return {**convolutions, **{n: x.astype(np.float32) for n, x in classifier.items()}}, linear


def write(path: pathlib.Path, arrays: Arrays, old: bool = False) -> str:
    """Writes a state dict as torch.save does today, or did before PyTorch 1.6."""
    (write_old if old else write_zip)(path, {name: tensor(x) for name, x in arrays.items()})
    return str(path)


def write_lpips(folder: pathlib.Path, network: str) -> str:
    """The name of an LPIPS distance, by two new files."""
    convolutions, linear = lpips(network)
    files = (write(folder / "net.pth", convolutions), write(folder / "lin.pth", linear))
    return ",".join(files)
