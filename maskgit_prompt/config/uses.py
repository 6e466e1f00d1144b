"""Settings that have no use beside the others: an error, since whoever set them expects an effect.

A setting counts only where it differs from the default of its job. Its use depends on another key,
or on a fact: the `transformer` of the backbone, what was `found` in an imported file, how many
`prompts` stand in the header, all of which a job learns later; where the `weights` are.
"""

import dataclasses
import fnmatch
from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from maskgit_prompt.config import defaults, keys
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers.format import formats
from maskgit_prompt.importers.published import is_elsewhere
from maskgit_prompt.models.pixel_prompt import FRAMED, PLACES
from maskgit_prompt.models.prompts import ADDED
from maskgit_prompt.tasks.classification.protocols import PROTOCOLS
from maskgit_prompt.tuning.methods import PROMPTED, RATES

FACTS = {
    "transformer": "a {} transformer",
    "encoder": "an encoder that is a {}",
    "found": "a source that is {}",
    "prompts": "a header of {}",
    "weights": "weights {}",
}


@dataclasses.dataclass(frozen=True)
class Use:
    """Keys that are used only where another key, or a fact, has some value.

    Attributes:
      keys: patterns of keys.
      needs: the other key or fact. A tuple's elements are looked at one by one: one is enough.
      values: those with which the keys are used.
      unless: without `values`: all but these.
      idle: values of the keys that ask for nothing, and are fine everywhere.
      instead: what to do, where it is not to set the other key.
    """

    keys: tuple[str, ...]
    needs: str
    values: Collection[Any] = ()
    unless: Collection[Any] = ()
    idle: Collection[Any] = ()
    instead: str = ""

    def holds(self, found: Any) -> bool:
        """Whether the keys are used where `needs` has this value."""
        each = found if isinstance(found, tuple) else (found,)
        if self.values:
            return any(one in self.values for one in each)
        return any(one not in self.unless for one in each)


SWEPT = tuple(name for name, protocol in PROTOCOLS.items() if not protocol.best)
HERE, ELSEWHERE = "on this machine", "at an address or of a published model"
USES = (
    Use(("download",), "weights", (ELSEWHERE,)),
    # Images.
    Use(
        ("data.path",),
        "data.name",
        ("folder", "vtab", "fgvc", "table", "tsv"),
        instead="for a folder of images use --config=configs/folder.py:PATH",
    ),
    Use(
        ("data.csv", "data.strict", "data.full_scale", "data.max_pixels"),
        "data.name",
        ("folder",),
        instead="for a folder of images use --config=configs/folder.py:PATH",
    ),
    Use(("data.dataset", "data.label"), "data.name", ("tfds",)),
    Use(("data.task",), "data.name", ("vtab", "fgvc", "scenes")),
    Use(("data.image", "data.texts", "data.target"), "data.name", ("table", "tsv")),
    Use(("data.heldout",), "data.name", ("table", "tsv")),
    Use(("data.heldout",), "data.test", ("",), instead="all of config.data.test is held out"),
    Use(("data.data_dir", "data.download"), "data.name", ("tfds", "vtab")),
    Use(("data.data_dir", "data.download"), "data.path", ("",), instead="the folder has the data"),
    Use(("data.path",), "job", unless=("vtab",), instead="configs/vpt_vtab.py reads such folders"),
    Use(
        ("data.split", "data.test", "data.reference", "data.validation"),
        "data.name",
        ("tfds", "vtab", "fgvc", "table", "tsv"),
    ),
    Use(("data.fractions.*",), "data.name", ("digits", "twemoji", "folder")),
    Use(("data.crop", "data.flip"), "data.views", unless=(1,), instead="set config.data.views=8"),
    # The prompt generator.
    Use(("prompt.factors", "prompt.hidden"), "prompt.kind", ("factorized",)),
    Use(("prompt.dense",), "prompt.kind", ("additive",)),
    Use(("prompt.embedding",), "prompt.kind", ("factorized", "additive"), idle=(0,)),
    Use(("prompt.drop_instance", "score.marquee_cutoffs"), "prompt.instances", (True,)),
    Use(("score.marquee_images",), "prompt.instances", (True,), idle=(0,)),
    Use(("prompt.attention",), "transformer", ("causal",)),
    Use(("prompt.attention",), "prompt.prefix", (False,)),
    # Classifiers.
    Use(("prompt.*",), "method", PROMPTED),
    Use(("prompt.blocks", "prompt.shared"), "prompt.deep", (True,)),
    Use(("prompt.end", "prompt.stay"), "prompt.blocks", unless=(0,)),
    Use(("prompt.blocks", "prompt.project", "prompt.shared", "prompt.start"), "encoder", ("vit",)),
    Use(("prompt.start",), "prompt.project", (0,)),
    Use(("prompt.location",), "encoder", ("vit", *FRAMED)),
    Use(("attention",), "encoder", unless=FRAMED, instead="it has none; leave it out"),
    Use(
        ("prompt.blocks", "prompt.end", "prompt.stay", "prompt.start"),
        "prompt.location",
        ("prepend",),
    ),
    Use(
        ("prompt.tokens", "sweep.tokens"),
        "prompt.location",
        unless=ADDED,
        instead="every token has its own vector, or all have one; leave it out",
    ),
    Use(
        ("prompt.deep", "prompt.shared", "prompt.project"),
        "prompt.location",
        ("prepend", *ADDED),
    ),
    Use(("prompt.dropout",), "prompt.location", unless=PLACES, instead="pixels are not dropped"),
    Use(("adapter.*",), "method", ("adapter",)),
    Use(("adapter.*",), "encoder", ("vit",)),
    Use(("lora.*",), "method", ("lora",)),
    Use(("loss.closed",), "closed", unless=("any",)),
    Use(("head.dropout",), "head.hidden", unless=(0,)),
    Use(("data.num",), "data.path", ("",), instead="the folder has the images"),
    Use(("head.hidden",), "head.doublings", unless=(0,)),
    Use(("optimizer.warmup_epochs",), "optimizer.warmup_steps", (0,)),
    # A sweep keeps rows, not steps.
    Use(
        (
            "train.ema_decay",
            "train.evaluate_every",
            "train.log_every",
            "train.save_every",
            "train.tensorboard",
            "profile",
        ),
        "job",
        unless=("sweep",),
        instead="a sweep keeps rows, not steps; leave it out",
    ),
    Use(("prompt.tokens",), "job", unless=("sweep",), instead="set config.sweep.tokens"),
    Use(
        ("optimizer.learning_rate", "optimizer.weight_decay"),
        "job",
        unless=("sweep",),
        instead="set config.sweep.learning_rates and config.sweep.weight_decays",
    ),
    Use(
        ("protocol",), "job", unless=("sweep",), idle=SWEPT, instead="a sweep counts the last step"
    ),
    Use(("sweep.tokens",), "method", PROMPTED),
    Use(("sweep.final",), "data.name", ("tfds", "vtab", "fgvc")),
    Use(("sweep.with_judge",), "sweep.final", ("",), instead="sweep.final says what they are"),
    Use(("tasks",), "data.name", ("vtab", "fgvc")),
    Use(("sweep.settings",), "data.name", ("vtab",)),
    Use(
        (
            "sweep.tokens",
            "sweep.learning_rates",
            "sweep.weight_decays",
            "prompt.dropout",
            "train.batch_size",
            "optimizer.scaled",
        ),
        "sweep.settings",
        ("",),
        instead="the published settings set it; leave it out",
    ),
    Use(
        ("data.crop", "data.flip"),
        "protocol",
        unless=("vpt-fgvc",),
        instead="the protocol crops and mirrors",
    ),
    # Training.
    Use(("masking.*",), "transformer", ("masked",), instead="use config.next_code"),
    Use(("next_code.*",), "transformer", ("causal",), instead="use config.masking"),
    Use(("masking.drop_class", "next_code.drop_class"), "job", ("pretrain",)),
    Use(
        ("optimizer.b1", "optimizer.b2", "optimizer.eps"),
        "optimizer.name",
        ("adamw", "adamw-vpt"),
    ),
    Use(("optimizer.momentum", "optimizer.nesterov"), "optimizer.name", ("sgd",)),
    Use(("optimizer.nesterov",), "optimizer.momentum", unless=(0.0,)),
    Use(
        ("optimizer.backbone_learning_rate",),
        "trainable",
        unless=("prompt/.*",),
        instead="name what else is trained, as --config.trainable='transformer/.*'",
    ),
    # Decoding.
    Use(
        ("sample.steps", "sample.schedule", "sample.order", "sample.choice_temperature"),
        "transformer",
        ("masked",),
        instead="it draws code by code, so leave the key out",
    ),
    Use(("sample.choice_temperature",), "sample.order", ("confidence",)),
    Use(("sample.entropy_bound",), "sample.sampler", ("entropy",)),
    Use(
        ("sample.steps", "sample.schedule"),
        "sample.sampler",
        unless=("entropy",),
        instead="config.sample.entropy_bound decides how many steps there are",
    ),
    Use(("sample.remask",), "sample.sampler", ("remasking",)),
    Use(("sample.window",), "sample.sampler", ("jacobi",)),
    Use(
        (
            "sample.guidance_schedule",
            "sample.guidance_power",
            "sample.guidance_begin",
            "sample.guidance_end",
            "sample.guidance_from",
        ),
        "sample.guidance",
        unless=(1.0,),
    ),
    Use(("sample.guidance_power",), "sample.guidance_schedule", ("power-cosine",)),
    Use(("sample.top_k", "sample.top_p"), "sample.temperature", unless=(0.0,)),
    Use(
        ("sample.cutoff", "sample.power"),
        "prompts",
        ("several prompts",),
        instead="take several, as --config.header=instance-class",
    ),
    Use(("keep",), "image", unless=("",), instead="give --config.image=FILE, too"),
    # Scores.
    Use(("score.per_class",), "score.images", (0,)),
    Use(("score.marquee_cutoffs",), "score.marquee_images", unless=(0,)),
    # Jobs that set keys of the main job themselves.
    Use(("data.shots",), "job", unless=("compare",), idle=(0,), instead="use config.compare.shots"),
    Use(
        ("trainable", "optimizer.backbone_learning_rate"),
        "job",
        unless=("compare",),
        instead="the methods set it; use config.compare.methods and config.compare.learning_rates",
    ),
    *(Use((f"compare.learning_rates.{name}",), "compare.methods", (name,)) for name in RATES),
    Use(
        ("data.shots",),
        "job",
        unless=("side_by_side",),
        idle=(0,),
        instead="use config.models.shots",
    ),
    Use(
        ("backbone", "model"),
        "job",
        unless=("side_by_side",),
        instead="use config.models.backbones",
    ),
    Use(("causal.*",), "transformer", ("causal",)),
    Use(
        ("data.name", "data.task"),
        "job",
        unless=("vtab",),
        instead="each task sets it; use config.tasks",
    ),
    Use(("train.steps", "train.epochs"), "steps", (0,)),
    # Pretraining.
    Use(("data.views",), "stage", ("transformer",), instead="every step has new views"),
    Use(("scenes.*",), "stage", ("multimodal",)),
    Use(("scenes.texts_share",), "scenes.texts", unless=((),)),
    Use(
        (
            "data.sets",
            "data.weights",
            "data.heldout",
            "data.zoom",
            "data.flips",
            "data.grounds",
            "data.photographs",
        ),
        "stage",
        unless=("multimodal",),
        instead="it draws scenes, of which every tenth is held out",
    ),
    Use(("reconstruction.*", "quantizer.*", "adversarial.*"), "stage", ("tokenizer",)),
    Use(("tokenizer_kind",), "stage", ("tokenizer",)),
    Use(("train.show_every",), "stage", ("tokenizer", "transformer")),
    Use(("sample.*",), "stage", ("transformer",)),
    Use(("reconstruction.network",), "reconstruction.perceptual", unless=(0.0,)),
    Use(("quantizer.revive",), "quantizer.ema", unless=(0.0,), idle=(0.0,)),
    Use(("quantizer.codebook",), "quantizer.ema", (0.0,)),
    Use(("adversarial.*",), "adversarial.weight", unless=(0.0,), idle=(0.0,)),
    Use(("adversarial.width", "adversarial.layers"), "adversarial.discriminator", ("patch",)),
    Use(("adversarial.penalty_every",), "adversarial.penalty", unless=(0.0,)),
    Use(("masking.*", "next_code.*"), "stage", ("transformer",)),
    Use(("model",), "stage", ("transformer", "encoder")),
    Use(("attention", "train.remat"), "stage", ("transformer", "encoder", "multimodal")),
    Use(("dtype",), "stage", ("tokenizer", "transformer", "encoder", "multimodal")),
    # Evaluation.
    Use(("fit",), "size", unless=(0,), instead="give the side as config.size"),
    Use(("splits",), "inception", unless=("",), instead="only FID's Inception gives that score"),
    # Imports.
    Use(("heads",), "format", ("taming", "vit-torch")),
    Use(("classes",), "format", ("taming",)),
    Use(("normalization",), "format", ("vit-npz", "vit-torch", "swin", "resnet", "convnext")),
    Use(("weights",), "format", ("ofa",)),
    Use(("codebook",), "format", ("maskgit",)),
    Use(
        ("backbone",),
        "format",
        tuple(name for name, form in formats().items() if form.tuned_on),
    ),
    Use(("backbone",), "found", ("a prompt",)),
    Use(
        (
            "name",
            "store_dtype",
            "image_size",
            "codebook",
            "heads",
            "classes",
            "normalization",
            "weights",
        ),
        "found",
        ("a backbone",),
    ),
)


def check(
    config: ConfigDict,
    facts: Mapping[str, Any] | None = None,
    default: ConfigDict | None = None,
) -> None:
    """Raises UsageError for the first setting that has no use, with the reason and the way out.

    Args:
      facts: values of FACTS, as far as they are known; a tuple has several.
      default: what counts as unchanged; default: the job's.
    """
    for key, reason in unused(config, facts, default).items():
        raise UsageError(f"config.{key} = {keys.flat(config)[key]!r} has no use with {reason}")


def unused(
    config: ConfigDict,
    facts: Mapping[str, Any] | None = None,
    default: ConfigDict | None = None,
) -> dict[str, str]:
    """key -> why it has no use, for all settings that have none; arguments as `check`."""
    flat, before = keys.flat(config), keys.flat(default or defaults.JOBS[config.job]())
    known = {**flat, "weights": _where(flat), **(facts or {})}
    found = {}
    for use in USES:
        value = known.get(use.needs)
        if value is None:  # not a key of this job, or as a prompt file says
            continue
        if f"causal.{use.needs}" in known:  # side by side: the masked models' and the causal ones'
            value = (value, known[f"causal.{use.needs}"])
        if use.holds(value):
            continue
        for key, given in flat.items():
            changed = given != before.get(key, given) and given not in use.idle
            if changed and any(fnmatch.fnmatchcase(key, pattern) for pattern in use.keys):
                found.setdefault(key, _reason(use, known[use.needs]))
    return found


def _where(flat: Mapping[str, Any]) -> str:
    """Where the weights are that a job asks for: HERE, or ELSEWHERE if some must be fetched."""
    source = str(flat.get("source", ""))
    given = [flat.get("backbone"), flat.get("inception"), source, *source.split(",")]
    given += flat.get("models.backbones", ())
    return ELSEWHERE if any(is_elsewhere(str(name)) for name in given) else HERE


def _reason(use: Use, value: Any) -> str:
    if use.needs in FACTS:
        given = FACTS[use.needs].format(value)
        needed = " or ".join(FACTS[use.needs].format(one) for one in use.values)
        way = f"it needs {needed}; leave it out"
    else:
        given = f"config.{use.needs} = {value!r}"
        other = f"another value than {', '.join(map(str, use.unless))}"
        needed = " or ".join(map(str, use.values)) or other
        way = f"leave it out, or set config.{use.needs} to {needed}"
    return f"{given}; {use.instead or way}"
