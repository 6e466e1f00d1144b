"""Convolutional networks as loops over PyTorch's state dicts, to hold ours against.

Names are torchvision's; x is [B, C, H, W].
"""

import math

import numpy as np

Weights = dict[str, np.ndarray]


def conv(x: np.ndarray, kernel: np.ndarray, stride: int = 1, edge: int = 0) -> np.ndarray:
    """kernel: [O, I, h, w]; zeros of width `edge` around x; I = 1: each channel by itself."""
    x = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    outputs, inputs, h, w = kernel.shape
    rows, cols = (x.shape[2] - h) // stride + 1, (x.shape[3] - w) // stride + 1
    found = np.zeros((len(x), outputs, rows, cols))
    for i in range(rows):
        for j in range(cols):
            seen = x[:, :, i * stride : i * stride + h, j * stride : j * stride + w]
            if inputs == 1 and x.shape[1] > 1:
                found[:, :, i, j] = (seen * kernel[:, 0]).sum((2, 3))
            else:
                found[:, :, i, j] = np.tensordot(seen, kernel, ((1, 2, 3), (1, 2, 3)))
    return found


# --- Residual networks ---------------------------------------------------------------------------


def resnet(p: Weights, x: np.ndarray, blocks: tuple[int, ...]) -> np.ndarray:
    """Features [B, D]; blocks: of each stage."""
    x = np.maximum(averaged(p, "bn1", conv(x, p["conv1.weight"], 2, 3)), 0)
    x = largest(x)
    for stage, count in enumerate(blocks, 1):
        for i in range(count):
            name, stride = f"layer{stage}.{i}.", 2 if stage > 1 and i == 0 else 1
            y = np.maximum(averaged(p, f"{name}bn1", conv(x, p[f"{name}conv1.weight"])), 0)
            y = conv(y, p[f"{name}conv2.weight"], stride, 1)
            y = np.maximum(averaged(p, f"{name}bn2", y), 0)
            y = averaged(p, f"{name}bn3", conv(y, p[f"{name}conv3.weight"]))
            if i == 0:
                x = conv(x, p[f"{name}downsample.0.weight"], stride)
                x = averaged(p, f"{name}downsample.1", x)
            x = np.maximum(x + y, 0)
    return x.mean((2, 3))


def averaged(p: Weights, name: str, x: np.ndarray) -> np.ndarray:
    of = lambda part: p[f"{name}.{part}"][:, None, None]
    x = (x - of("running_mean")) / np.sqrt(of("running_var") + 1e-5)
    return x * of("weight") + of("bias")


def largest(x: np.ndarray) -> np.ndarray:
    """The largest of 3 x 3 pixels around every second one."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    size = (x.shape[2] - 3) // 2 + 1
    windows = [
        x[:, :, i : i + 2 * size : 2, j : j + 2 * size : 2] for i in range(3) for j in range(3)
    ]
    return np.max([w[:, :, :size, :size] for w in windows], axis=0)


def resnet_weights(blocks: tuple[int, ...], rng: np.random.Generator) -> Weights:
    found: Weights = {}

    def layer(name: str, norm: str, outputs: int, inputs: int, size: int) -> None:
        kernel = rng.normal(0, (2 / (inputs * size**2)) ** 0.5, (outputs, inputs, size, size))
        found[f"{name}.weight"] = kernel.astype(np.float32)
        for part in ("weight", "bias", "running_mean", "running_var"):
            # Different means, so that a swap of two of them is seen; 0.3 makes variances positive.
            shift = {"weight": 0.9, "bias": 0.1, "running_mean": -0.1, "running_var": 1.4}[part]
            found[f"{norm}.{part}"] = np.float32(shift + rng.uniform(-0.3, 0.3, outputs))
        found[f"{norm}.num_batches_tracked"] = np.int64(7)

    layer("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, count in enumerate(blocks, 1):
        width = 64 * 2 ** (stage - 1)
        for i in range(count):
            name = f"layer{stage}.{i}."
            layer(f"{name}conv1", f"{name}bn1", width, inputs, 1)
            layer(f"{name}conv2", f"{name}bn2", width, width, 3)
            layer(f"{name}conv3", f"{name}bn3", 4 * width, width, 1)
            if i == 0:
                layer(f"{name}downsample.0", f"{name}downsample.1", 4 * width, inputs, 1)
            inputs = 4 * width
    found["fc.weight"], found["fc.bias"] = np.zeros((9, inputs), "f4"), np.zeros(9, "f4")
    return found


# --- ConvNeXt ------------------------------------------------------------------------------------


def convnext(p: Weights, x: np.ndarray, blocks: tuple[int, ...]) -> np.ndarray:
    """Features [B, D]; blocks: of each stage."""
    biased = lambda name, y: y + p[f"{name}.bias"][:, None, None]
    x = biased("features.0.0", conv(x, p["features.0.0.weight"], 4))
    x = normed(p, "features.0.1", x)
    for stage, count in enumerate(blocks):
        for i in range(count):
            name = f"features.{2 * stage + 1}.{i}."
            y = conv(x, p[f"{name}block.0.weight"], 1, 3)
            y = normed(p, f"{name}block.2", biased(f"{name}block.0", y)).transpose(0, 2, 3, 1)
            y = y @ p[f"{name}block.3.weight"].T + p[f"{name}block.3.bias"]
            y = 0.5 * y * (1 + np.vectorize(math.erf)(y / 2**0.5))
            y = y @ p[f"{name}block.5.weight"].T + p[f"{name}block.5.bias"]
            x = x + p[f"{name}layer_scale"] * y.transpose(0, 3, 1, 2)
        if stage < len(blocks) - 1:
            name = f"features.{2 * stage + 2}."
            x = normed(p, f"{name}0", x)
            x = biased(f"{name}1", conv(x, p[f"{name}1.weight"], 2))
    return normed(p, "classifier.0", x.mean((2, 3), keepdims=True))[:, :, 0, 0]


def normed(p: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """Each pixel by the mean and variance of its channels."""
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
    return x * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]


def convnext_weights(width: int, blocks: tuple[int, ...], rng: np.random.Generator) -> Weights:
    found: Weights = {}

    def layer(name: str, *shape: int) -> None:
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        found[f"{name}.weight"] = np.float32(rng.normal(0, scale, shape))
        found[f"{name}.bias"] = np.float32(rng.uniform(-0.3, 0.3, shape[0]))

    def norm(name: str, width: int) -> None:
        found[f"{name}.weight"] = np.float32(1 + rng.uniform(-0.3, 0.3, width))
        found[f"{name}.bias"] = np.float32(rng.uniform(-0.3, 0.3, width))

    layer("features.0.0", width, 3, 4, 4)
    norm("features.0.1", width)
    for stage, count in enumerate(blocks):
        for i in range(count):
            name = f"features.{2 * stage + 1}.{i}."
            layer(f"{name}block.0", width, 1, 7, 7)
            norm(f"{name}block.2", width)
            layer(f"{name}block.3", 4 * width, width)
            layer(f"{name}block.5", width, 4 * width)
            found[f"{name}layer_scale"] = np.float32(rng.uniform(0.5, 1.5, (width, 1, 1)))
        if stage < len(blocks) - 1:
            norm(f"features.{2 * stage + 2}.0", width)
            layer(f"features.{2 * stage + 2}.1", 2 * width, width, 2, 2)
            width *= 2
    norm("classifier.0", width)
    layer("classifier.2", 9, width)
    return found
