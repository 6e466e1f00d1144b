"""Answers about pictures, by prefixes that were tuned before, all of them in one batch.

1. Read the prefixes, the backbone that they share, and find the pictures.
2. Answer for each picture and each prefix, by one beam search.
3. Write answers.csv and answers.json.
"""

import csv
import dataclasses
import io
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import rules
from maskgit_prompt.counts import counted
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import pictures
from maskgit_prompt.decoding.beam import SearchConfig
from maskgit_prompt.decoding.constraints import Constraint, IdRange, Trie, make_tries
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import obtain
from maskgit_prompt.models.prefixes import Prefixes, together
from maskgit_prompt.report import results
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.tasks.multimodal import opening, words
from maskgit_prompt.tasks.multimodal.answering import Answerer
from maskgit_prompt.tasks.multimodal.goals import BOXES
from maskgit_prompt.tasks.multimodal.opening import Stored
from maskgit_prompt.tasks.multimodal.words import Words, padded


def run(config: ConfigDict, path: str) -> None:
    began = time.perf_counter()
    rules.check(config)

    # 1. Prefixes, backbone, pictures.
    if not config.data.path:
        raise UsageError("config.data.path is empty; expected pictures: configs/answer.py:PATH")
    found = opening.load_all(tuple(config.prefixes), "prefixes")
    for one in found:
        if one.sizes.prompt is None:
            raise UsageError(f"{one.path} is of method {one.method!r}; expected prefixes")
    backbone = obtain.tuned_on(config, {one.path: one.backbone for one in found})
    vocabulary = words.of_backbone(backbone, config.vocabulary)
    side = _same(found, "side")
    search = _search(found)
    mesh, compute = sharding.make_mesh(**config.mesh), Compute.of(config)
    sources = _sources(config, found, vocabulary, backbone.part("multimodal").cfg.positions)
    names, read = pictures.find(config.data.path)
    preprocessing = Preprocessing(side, config.data.fit, resample="bicubic")

    with workdir.prepare(path, config) as home:
        # 2. Answers. The tree of one file stands for all: its prefixes are replaced by each one's.
        opened = [opening.around(one, backbone, compute, mesh) for one in found]
        own = together([_prefixes(model, tree) for model, tree in opened])
        model, tree = opened[0]
        # Row i * prefixes + k of a batch: picture i, prefix k.
        several = len(found)
        size = sharding.whole(min(config.batch_size, len(names)) * several, mesh)
        constraint = _constraint(found, vocabulary, np.arange(size) % several)
        answerer = Answerer(model, vocabulary.tokenizer, search, constraint, mesh, size)
        rows: list[dict[str, Any]] = []
        broken: dict[str, str] = {}
        for some, pixels, wrong in pictures.decoded(names, read, preprocessing, config.batch_size):
            broken |= wrong
            if not some:
                continue
            image, which = np.divmod(np.arange(len(some) * several), several)
            answers = answerer(
                tree, lambda r, p=pixels, i=image: p[i[r]], sources[which], own[which]
            )
            for row, (i, k) in enumerate(zip(image, which, strict=True)):
                rows.append(
                    {
                        "file": some[i],
                        "prefix": found[k].path,
                        "answer": answers.texts[row],
                        "score": round(float(answers.scores[row]), 4),
                    }
                )
        pictures.check_broken(broken, len(names))

        # 3. Files.
        write_whole(home / "answers.csv", as_csv(rows).encode())
        results.write_json(
            home / "answers.json",
            {"backbone": backbone.name, "broken": broken, "answers": rows},
        )
        seconds = time.perf_counter() - began
        print(f"{counted(len(rows), 'answer')} in {seconds:.1f} s: {home / 'answers.csv'}")


def _prefixes(model, tree) -> Prefixes:
    """The prefixes of one example."""
    return jax.jit(lambda own: nnx.merge(model.prompt, own).of_batch(1))(tree["prompt"])


def _same(found: Sequence[Stored], key: str) -> Any:
    """What all files say of their task.

    Raises:
      UsageError: several things.
    """
    for one in found:
        if one.task[key] != found[0].task[key]:
            raise UsageError(
                f"{one.path} has {key} {one.task[key]!r}, {found[0].path} {found[0].task[key]!r}; "
                "answer with them in runs of their own"
            )
    return found[0].task[key]


def _search(found: Sequence[Stored]) -> SearchConfig:
    """Settings that all files share; of lengths the least and the most."""
    each = [SearchConfig(**one.task["search"]) for one in found]
    least, most = min(s.min_length for s in each), max(s.max_length for s in each)
    each = [dataclasses.replace(s, min_length=least, max_length=most) for s in each]
    for one, search in zip(found, each, strict=True):
        if search != each[0]:
            raise UsageError(
                f"{one.path} and {found[0].path} search otherwise ({search} and {each[0]}); answer "
                "with them in runs of their own"
            )
    return each[0]


def _constraint(found: Sequence[Stored], words: Words, which: np.ndarray) -> Constraint | None:
    """What the answer to each row may be; which: [n], the numbers of their prefixes.

    Raises:
      UsageError: closed answers beside others, or boxes beside texts.
    """
    kinds = {(one.task["kind"], bool(one.task["answers"])) for one in found}
    if len(kinds) > 1:
        raise UsageError(
            "some prefixes answer from a closed set or in boxes and some do not; answer with them "
            "in runs of their own"
        )
    kind, closed = kinds.pop()
    layout = words.tokenizer.layout
    if kind == BOXES:
        return IdRange(layout.first_bin, layout.size)
    if not closed:
        return None
    trie: Trie = make_tries(
        [[words.target(answer)[:-1] for answer in one.task["answers"]] for one in found]
    )
    return trie.rooted(which)


def _sources(
    config: ConfigDict, found: Sequence[Stored], words: Words, positions: int
) -> np.ndarray:
    """The instruction of each prefix, int32 [prefixes, L].

    Raises:
      UsageError: another number of texts than an instruction takes, or too long ones.
    """
    rows, texts = [], tuple(config.texts)
    for one in found:
        instruction = one.task["instruction"]
        if instruction.count("{}") not in (0, len(texts)):
            raise UsageError(
                f"{one.path} asks {instruction.strip()!r}, but config.texts has {len(texts)}; give "
                f"{instruction.count('{}')}"
            )
        rows.append(words.source(instruction.format(*texts)))
        if len(rows[-1]) > positions:
            raise UsageError(
                f"config.texts: {len(rows[-1])} tokens, the model takes {positions}; shorten it"
            )
    return padded(rows, max(map(len, rows)))


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """A row for each picture and prefix."""
    text = io.StringIO()
    table = csv.DictWriter(text, ("file", "prefix", "answer", "score"), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
