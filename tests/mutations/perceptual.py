"""Wrong changes to perceptual distances: networks, importers, names, the benchmark."""

from tests.mutations.mutation import Mutation, in_file

LPIPS = ("tests/models/test_lpips.py",)
LPIPS_FILES = ("tests/importers/test_lpips.py",)
EFFICIENTNET = (
    "tests/importers/test_efficientnet.py::test_folding_by_hand",
    "tests/importers/test_efficientnet.py::test_computes_what_the_unfolded_network_computes",
    "tests/importers/test_efficientnet.py::test_taps_need_no_later_stage",
)
PACKAGE = (
    "tests/importers/test_efficientnet.py::test_without_the_package_the_extra_is_named",
    "tests/importers/test_efficientnet.py::test_a_damaged_package_is_refused",
)
DISTANCES = ("tests/tasks/test_perceptual.py",)
BENCHMARK = ("tests/test_perceptual_benchmark.py",)

MUTATIONS = (
    *in_file(
        "models/perceptual.py",
        LPIPS,
        ("epsilon-inside-the-root", "+ guard) + EPSILON)", "+ guard + EPSILON))"),
        ("guard-outside-of-the-root", "keepdims=True) + guard)", "keepdims=True)) + guard"),
        ("channels-not-made-unit", "x / (jnp.sqrt(jnp.sum", "x / (1 + 0 * jnp.sqrt(jnp.sum"),
        ("weights-of-channels-squared", "squares * weights.", "squares * weights**2 * weights."),
        ("norms-of-positions", "jnp.sum(x**2, -1, keepdims", "jnp.sum(x**2, 1, keepdims"),
    ),
    *in_file(
        "models/lpips.py",
        LPIPS,
        ("lpips-scaled-before-shifted", "(images - SHIFT) / SCALE", "images / SCALE - SHIFT"),
        (
            "lpips-taps-before-the-relu",
            "jax.nn.relu(self.convs[str(i)](x))",
            "self.convs[str(i)](x)",
        ),
        ("lpips-pools-averaged", "nnx.max_pool(x", "nnx.avg_pool(x"),
        ("lpips-alex-padded-otherwise", "stride=4, padding=2", "stride=4, padding=3"),
        ("lpips-weights-of-another-stage", "self.weights[str(i)]", "self.weights['0']"),
        ("lpips-layers-summed-over-positions", "jnp.mean(differences,", "jnp.sum(differences,"),
    ),
    *in_file(
        "importers/lpips.py",
        LPIPS_FILES,
        ("lpips-pools-not-counted", "number += bool(stage.pool)", "number += 0"),
        ("lpips-kernels-turned", "x.transpose(2, 3, 1, 0)", "x.transpose(3, 2, 1, 0)"),
        ("lpips-negative-weights", "x.min() < 0", "x.min() < -1"),
        ("lpips-classifier-refused", "ignored=[CLASSIFIER]", "ignored=[]"),
        ("lpips-version-0", "in VERSION_0:", "in ():"),
        ("lpips-linear-of-any-network", 'other not in ("", network)', "False"),
        ("lpips-three-files", "len(paths) == 2 and", ""),
    ),
    *in_file(
        "models/efficientnet.py",
        EFFICIENTNET,
        ("efficientnet-scaled-to-one", "(images * 255 - 127) / 128", "images * 2 - 1"),
        ("efficientnet-relu-without-6", "relu6(self.depthwise(y))", "relu(self.depthwise(y))"),
        ("efficientnet-adds-nothing", "x + y if self.adds else y", "y"),
        (
            "efficientnet-projects-behind-relu",
            "y = self.project(",
            "y = jax.nn.relu(self.project)(",
        ),
        ("depthwise-padded-in-front", "(beyond // 2, beyond - beyond // 2)", "(beyond, 0)"),
        (
            "depthwise-more-in-front",
            "(beyond // 2, beyond - beyond // 2)",
            "(beyond - beyond // 2, beyond // 2)",
        ),
        ("depthwise-turned", "kernel[i, j, 0]", "kernel[j, i, 0]"),
        ("efficientnet-taps-at-starts", "ends.append(x)", "ends.append(self.blocks[str(i)](x))"),
        ("efficientnet-fewer-stages", "stages=STAGES[:5]", "stages=STAGES[:4]"),
    ),
    *in_file(
        "importers/efficientnet.py",
        EFFICIENTNET,
        ("norms-with-another-epsilon", "EPSILON = 1e-3", "EPSILON = 1e-5"),
        ("norms-of-the-wrong-convolution", '(r"_conv_head", r"_bn1"', '(r"_conv_head", r"_bn0"'),
        ("mean-not-scaled", "offset - mean * factor", "offset - mean"),
        (
            "mean-for-offset",
            '"bias": "offset", "running_mean": "mean"',
            '"bias": "mean", "running_mean": "offset"',
        ),
    ),
    *in_file(
        "importers/efficientnet.py",
        PACKAGE,
        ("package-not-checked", "!= SHA256", '== ""'),
        ("package-without-weights", "if not there or", "if there and"),
    ),
    *in_file(
        "tasks/perceptual.py",
        DISTANCES,
        (
            "lpips-of-images-from-0-to-1",
            "model.maps(2 * x - 1, 2 * y - 1, guard)",
            "model.maps(x, y, guard)",
        ),
        (
            "efficientnet-not-enlarged",
            "resize or max(image_size, network.enlarged)",
            "resize or image_size",
        ),
        ("resize-ignored", "size = resize or", "size ="),
        (
            "images-exchanged-for-the-same",
            "zip(model.taps(x), model.taps(y)",
            "zip(model.taps(x), model.taps(x)",
        ),
        ("guard-not-passed", "difference(a, b, guard=guard)", "difference(a, b)"),
        ("guard-of-lpips-not-passed", "2 * y - 1, guard)", "2 * y - 1)"),
        ("weights-stay-float32", "aligned(np.asarray(x), dtype)", "aligned(np.asarray(x))"),
        ("weights-captured", "nnx.merge(graphdef, weights)", "nnx.merge(graphdef, network.tree)"),
        ("measured-against-itself", "x[:, 0], x[:, 1])", "x[:, 0], x[:, 0])"),
        ("measured-from-0-to-255", "pairs.astype(jnp.float32) / 255", "pairs.astype(jnp.float32)"),
        ("smallest-image-not-checked", "size < network.smallest", "size < 1"),
    ),
    *in_file(
        "models/features.py",
        DISTANCES,
        (
            "taps-without-the-last-stage",
            "range(self.cfg.stages):\n            x = s",
            "range(self.cfg.stages - 1):\n            x = s",
        ),
    ),
    *(
        Mutation(name, "benchmarks/perceptual.py", old, new, BENCHMARK)
        for name, old, new in (
            ("nearer-counts-farther", "less < 0", "less > 0"),
            ("compared-with-the-last", "if first is None:", "if True:"),
            ("difference-turned", "less = distances - first", "less = first - distances"),
            ("interval-of-one-image", "ddof=1) / np.sqrt(len(x))", "ddof=1)"),
            (
                "the-first-chunk-alone",
                "distances = np.concatenate(distances)",
                "distances = distances[0]",
            ),
            ("pictures-of-pretraining", "SEED = 2**40", "SEED = 0"),
        )
    ),
)
