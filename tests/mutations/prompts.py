"""Wrong changes to prompts, their files and the backbones they belong to."""

from tests.mutations.mutation import in_file

WIRING = ("tests/tasks/generation/test_wiring.py",)
PROMPT = (
    "tests/models/test_prompt.py::test_table_by_hand",
    "tests/models/test_prompt.py::test_conditions_are_dropped_at_their_rates_with_a_key_only",
    "tests/models/test_prompt.py::test_a_dropped_condition_is_an_absent_one",
)
MAIN_JOB = ("tests/jobs/test_main_job.py",)
OUTPUTS = ("tests/tasks/generation/test_outputs.py",)
TUNED_PROMPT = ("tests/tuning/test_tuned_prompt.py",)
BACKBONES = ("tests/backbones/test_backbones.py",)
REGISTRY = ("tests/backbones/test_registry.py",)
PROMPTS = ("tests/models/test_prompts.py",)

MUTATIONS = (
    *in_file(
        "tasks/generation/outputs.py",
        WIRING,
        (
            "prompt-file-names-held-out-images",
            "rows = data.tune if cfg.instances",
            "rows = data.test if cfg.instances",
        ),
        (
            "chosen-images-held-out",
            "zip(data.tune, data.labels(data.tune), strict=True)",
            "zip(data.test, data.labels(data.test), strict=True)",
        ),
    ),
    *in_file(
        "tasks/generation/outputs.py",
        MAIN_JOB,
        (
            "file-instances-are-classes",
            "instances=tuple(data.images.ids[row] for row in rows)",
            "instances=tuple(data.images.classes[c] for c in data.labels(rows))",
        ),
        (
            "file-instance-names-of-other-rows",
            "data.images.ids[row] for row in rows",
            "data.images.ids[row] for row in range(len(rows))",
        ),
        (
            "file-class-names-reversed",
            "classes=data.images.classes,",
            "classes=tuple(reversed(data.images.classes)),",
        ),
        (
            "file-instance-classes-of-other-rows",
            "instance_classes=tuple(data.labels(rows).tolist())",
            "instance_classes=tuple(data.labels(data.reference[: len(rows)]).tolist())",
        ),
        (
            "file-fingerprint-of-the-images",
            "TunedOn.of(backbone, PARTS)",
            "TunedOn(backbone.name, data.images.fingerprint, PARTS)",
        ),
    ),
    *in_file(
        "tasks/generation/outputs.py",
        OUTPUTS,
        (
            "file-fingerprint-of-the-model-before",
            ('backbone, name = backbones.save(changed, home / "backbone"), str(home / "backbone")'),
            '_, name = backbones.save(changed, home / "backbone"), str(home / "backbone")',
        ),
        (
            "file-frozen-transformer-beside-a-trained-prompt",
            "tree=sharding.tree_to_host(tuned.transformer, plan.mesh))",
            "tree=part.tree)",
        ),
    ),
    *in_file(
        "models/prompt.py",
        PROMPT,
        (
            "drop-rates-exchanged",
            "class_ids, cfg.drop_class, keys[0]",
            "class_ids, cfg.drop_instance, keys[0]",
        ),
        (
            "instances-dropped-with-classes",
            "cfg.drop_instance, keys[1]",
            "cfg.drop_instance, keys[0]",
        ),
        (
            "none-is-row-0",
            "return jnp.where((ids >= 0).reshape",
            "return jnp.where((ids >= -1).reshape",
        ),
        (
            "drop-keeps",
            "bernoulli(key, drop, ids.shape), NONE, ids",
            "bernoulli(key, drop, ids.shape), ids, NONE",
        ),
        (
            "instance-from-the-class-table",
            "self.instances[...], instance_ids",
            "self.classes[...], instance_ids",
        ),
    ),
    *in_file(
        "tuning/tuned_file.py",
        TUNED_PROMPT,
        (
            "file-of-any-model-of-this-name",
            "if self.fingerprint != found:",
            "if self.name != backbone.name:",
        ),
        (
            "file-fingerprints-exchanged-in-the-error",
            "with fingerprint {self.fingerprint}, but",
            "with fingerprint {found}, but",
        ),
        (
            "file-checked-against-the-parts-of-earlier-versions",
            "backbone.fingerprint(self.parts)",
            "backbone.fingerprint(('tokenizer', 'transformer'))",
        ),
    ),
    *in_file(
        "tuning/tuned_prompt.py",
        TUNED_PROMPT,
        (
            "file-read-with-names-exchanged",
            "        prompt = TunedPrompt(config,",
            (
                '        header["classes"], header["instances"] = header["instances"], '
                'header["classes"]\n'
                "        prompt = TunedPrompt(config,"
            ),
        ),
        (
            "file-forgets-its-parts",
            'tuple(header.pop("parts", IMPLIED))',
            '(header.pop("parts", None), IMPLIED)[1]',
        ),
    ),
    *in_file(
        "backbones/backbone.py",
        BACKBONES,
        (
            "fingerprint-of-all-parts",
            "fingerprint_of([self.identities[name] for name in parts])",
            "fingerprint_of(list(self.identities.values()))",
        ),
        (
            "fingerprint-without-weights",
            'json.dumps([entry["kind"], entry["config"], sha256_of(entry)])',
            'json.dumps([entry["kind"], entry["config"], ""])',
        ),
        (
            "fingerprint-of-half-a-backbone",
            "if not set(parts) <= self.identities.keys():",
            "if not self.identities:",
        ),
        (
            "attention-of-every-transformer-changed",
            'if prompt is not None and hasattr(cfg, "prompt_attention"):',
            "if False:",
        ),
    ),
    *in_file(
        "models/masked.py",
        REGISTRY,
        ("masked-decoded-one-after-the-other", 'decoding="parallel"', 'decoding="autoregressive"'),
    ),
    *in_file(
        "backbones/load.py",
        BACKBONES,
        ("a-part-of-any-kind", "if kind.part != name:", "if False:"),
    ),
    *in_file(
        "models/prompts.py",
        PROMPTS,
        ("first-tokens-of-the-last-layer", "prompt.layers[:, 0]", "prompt.layers[:, -1]"),
        (
            "header-of-the-last-prompt-first",
            "np.stack(arrays, axis=1)",
            "np.stack(arrays[::-1], axis=1)",
        ),
        ("rows-are-of-prompts", "lambda x: x[rows], self", "lambda x: x[: len(rows)], self"),
    ),
)
