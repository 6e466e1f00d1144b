"""What a run works on, checked as far as it can be before anything is written."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

from jax.sharding import Mesh
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.counts import counted
from maskgit_prompt.data.examples import Examples
from maskgit_prompt.data.sets import scene_tasks
from maskgit_prompt.decoding.beam import SearchConfig
from maskgit_prompt.decoding.constraints import Constraint, IdRange, Trie
from maskgit_prompt.devices import distributed, sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.ofa import STRIDE, OFAConfig
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import read_lines
from maskgit_prompt.tasks.multimodal import finding, goals, sizes, words
from maskgit_prompt.tasks.multimodal.asked import Asked, ask, trie_of
from maskgit_prompt.tasks.multimodal.goals import BOXES, Goal
from maskgit_prompt.tasks.multimodal.model import Multimodal
from maskgit_prompt.tasks.multimodal.sizes import Sizes
from maskgit_prompt.tasks.multimodal.words import Words
from maskgit_prompt.tuning import profile
from maskgit_prompt.tuning.methods import MULTIMODAL_METHODS, Method
from maskgit_prompt.tuning.tune import check_patterns, steps_of

PARTS = ("multimodal",)  # of a backbone: what tuned parameters depend on
ROOM = 4  # tokens that an answer may be longer than the longest right one
BOX = 4  # bins of a box


@dataclasses.dataclass(frozen=True)
class Plan:
    """What every stage of a run reads and none changes.

    Attributes:
      config: of the run.
      tuning: the same with the method's patterns and the number of steps.
      backbone, mesh, method, sizes, model: the frozen model and what is tuned around it.
      goal: what is asked; words: the vocabulary.
      side: of the images in pixels.
      tune, test: the examples to tune on and those held out.
      constraint: what answers may be; None: anything. answers: the closed set, or nothing.
      search: settings of the beam search.
    """

    config: ConfigDict
    tuning: ConfigDict
    backbone: Backbone
    mesh: Mesh
    method: Method
    sizes: Sizes
    model: Multimodal
    goal: Goal
    words: Words
    side: int
    tune: Asked
    test: Asked
    constraint: Constraint | None
    answers: tuple[str, ...]
    search: SearchConfig

    @property
    def summary(self) -> str:
        """What was found, in a line or two."""
        closed = f"; {len(self.answers)} closed answers" if self.answers else ""
        return (
            f"{self.tune.examples.name}: {counted(len(self.tune), 'example')} to tune on, "
            f"{len(self.test):,} held out; {self.goal.title}{closed}"
        )


def make_plan(config: ConfigDict, backbone: Backbone, mesh: Mesh, path: str | os.PathLike) -> Plan:
    """Finds the examples; raises for all that can be known to be wrong. path: the workdir."""
    part = backbone.part("multimodal")
    if config.method not in MULTIMODAL_METHODS:
        raise UsageError(
            f"config.method = {config.method!r}, expected one of {', '.join(MULTIMODAL_METHODS)}"
        )
    method = MULTIMODAL_METHODS[config.method]
    Compute.of(config).check(part.cfg, mesh)
    r_drop = config.loss.r_drop > 0
    sharding.check_batch(config.train.batch_size * (1 + r_drop), config.train.micro_batches, mesh)
    if r_drop and config.train.micro_batches > 1:
        raise UsageError(
            "config.loss.r_drop compares two passes of an example, which micro-batches would part; "
            "set config.train.micro_batches=1"
        )
    vocabulary = words.of_backbone(backbone, config.vocabulary)
    goal = _goal(config)
    made, model = make_model(config, backbone)
    tree = params.abstract({"multimodal": part.tree}) | sizes.outlines(made, part.tree)
    tuning = ConfigDict(config.to_dict())
    tuning.trainable = method.patterns(config.trainable)
    check_patterns(tuning, tree)
    side = side_of(config, part.cfg)

    if goal.kind == BOXES and config.data.fit != "resize":
        raise UsageError(
            f"config.data.fit = {config.data.fit!r} moves boxes; set config.data.fit=resize"
        )

    tune, test = finding.find(config.data, side)
    tuning.train.steps = steps_of(config.train, len(tune))
    tuning.train.epochs = 0.0
    profile.bounds(config.profile, tuning.train.steps)
    answers = closed_answers(config, goal, tune)
    trie = trie_of(answers, vocabulary) if answers else None
    how = (goal, vocabulary, side, part.cfg.positions)
    asked = ask(tune, *how, trie)
    # What is held out may be answered otherwise where the set is what was found to tune on.
    held = ask(test, *how, None if config.closed == "targets" or goal.listed else trie)
    constraint = trie
    if goal.kind == BOXES:
        layout = vocabulary.tokenizer.layout
        constraint = IdRange(layout.first_bin, layout.size)
    return Plan(
        config=config,
        tuning=tuning,
        backbone=backbone,
        mesh=mesh,
        method=method,
        sizes=made,
        model=model,
        goal=goal,
        words=vocabulary,
        side=side,
        tune=asked,
        test=held,
        constraint=constraint,
        answers=answers,
        search=search_of(config, goal, trie, asked.longest, part.cfg.positions),
    )


def make_model(config: ConfigDict, backbone: Backbone) -> tuple[Sizes, Multimodal]:
    """(the sizes of what stands around the network, what computes logits)."""
    part = backbone.part("multimodal")
    compute = Compute.of(config)
    cfg = dataclasses.replace(
        compute.applied(part.cfg), remat=config.train.remat, dropout=config.loss.dropout
    )
    made = sizes.of_config(config, cfg)
    return made, sizes.model(made, part.graphdef(cfg), cfg)


def _goal(config: ConfigDict) -> Goal:
    """What is asked; a task of drawn scenes has its own instruction and closed set."""
    if config.data.name != "scenes":
        return goals.find(config.goal, config.instruction)
    if config.data.task not in scene_tasks.TASKS:
        raise UsageError(
            f"config.data.task = {config.data.task!r}, expected one of "
            f"{', '.join(scene_tasks.TASKS)}"
        )
    task = scene_tasks.TASKS[config.data.task]
    names = {"caption": "caption", "refer": "point", "entail": "statement"}
    name = names.get(config.data.task.partition("-")[0], "question")
    if config.goal not in ("", name):
        raise UsageError(
            f"config.goal = {config.goal!r}, but config.data.task = {config.data.task!r} of scenes "
            f"is for {name!r}; leave config.goal out"
        )
    goal = goals.find(name, config.instruction or task.instruction)
    return dataclasses.replace(goal, answers=task.answers)


def closed_answers(config: ConfigDict, goal: Goal, tune: Examples) -> tuple[str, ...]:
    """The closed set that config.closed asks for; empty: any answer.

    Raises:
      UsageError: a closed set of boxes. UserError: a file of answers that cannot be read.
    """
    if goal.kind == BOXES:
        if config.closed not in ("usual", "any"):
            raise UsageError(
                f"config.closed = {config.closed!r}, but answers are boxes, which have no closed "
                "set; leave it out"
            )
        return ()
    if config.closed == "any":
        return ()
    if config.closed == "targets" or (config.closed == "usual" and goal.listed):
        return tuple(sorted({target for several in tune.targets for target in several}))
    if config.closed == "usual":
        return goal.answers
    return read_lines(config.closed, "config.closed")


def side_of(config: ConfigDict, cfg: OFAConfig) -> int:
    """The side of the images in pixels.

    Raises:
      UsageError: not a multiple of the grid's cells, or more of them than have positions.
    """
    side = config.data.size
    if side % STRIDE or not STRIDE <= side <= cfg.side * STRIDE:
        raise UsageError(
            f"config.data.size = {side}, expected a multiple of {STRIDE}, at most "
            f"{cfg.side * STRIDE}: the model has positions for {cfg.side} cells a side"
        )
    return side


def search_of(
    config: ConfigDict, goal: Goal, trie: Trie | None, longest: int, positions: int
) -> SearchConfig:
    """Settings of the search; a length of 0 is what the answers need.

    longest: tokens of the longest answer to tune on, with </s>.
    """
    options = config.search
    if options.length and (goal.kind == BOXES or trie is not None):
        raise UsageError(
            f"config.search.length = {options.length} has no use: boxes and closed answers are as "
            "long as they are; leave it out, or set config.closed=any"
        )
    if goal.kind == BOXES:
        most, least = BOX, BOX
    elif trie is not None:
        most, least = int(trie.depth), options.min_length
    else:
        most, least = options.length or min(longest - 1 + ROOM, positions - 1), options.min_length
    if most >= positions:
        raise UsageError(
            f"config.search.length = {most}, but the model has {positions} positions, one of them "
            f"for the start: expected at most {positions - 1}"
        )
    return SearchConfig(
        beams=options.beams,
        max_length=most,
        min_length=min(least, most),
        length_penalty=options.length_penalty,
        no_repeat=options.no_repeat,
    )


@contextlib.contextmanager
def claim(plan: Plan, path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Makes the workdir, or checks that it is of this config and these examples."""
    with workdir.prepare(path, plan.config) as home:
        parts = {"tuned on": plan.tune, "held out": plan.test}
        prints = {words: asked.examples.fingerprint[:16] for words, asked in parts.items()}
        workdir.bind(home, prints)
        if distributed.is_first():
            print(plan.summary, flush=True)
        yield home
