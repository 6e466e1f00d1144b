"""Batches of views of a corpus: pixels made anew for each step, or codes made before."""

import pathlib

import numpy as np

from maskgit_prompt.backbones import Part
from maskgit_prompt.data import batches
from maskgit_prompt.data.augment import PLAIN
from maskgit_prompt.data.corpus import Corpus
from maskgit_prompt.data.mixture import Mixture
from maskgit_prompt.data.views import ViewMaker
from maskgit_prompt.tasks.generation.encoding import encode_once


class PixelBatches:
    """step -> {"pixels" uint8 [B, S, S, 3], "class_ids" int32 [B]}; every step has new views."""

    def __init__(self, corpus: Corpus, view_maker: ViewMaker, seed: int, batch_size: int):
        self._mixture = Mixture(corpus.train, corpus.weights, seed)
        self._labels, self._view_maker, self._size = corpus.images.labels, view_maker, batch_size

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        rows = self._mixture.rows(step, self._size)
        numbers = 1 + step * self._size + np.arange(self._size)  # view 0 is the plain one
        return {
            "pixels": self._view_maker(rows, numbers),
            "class_ids": self._labels[rows].astype(np.int32),
        }


class CodeBatches:
    """step -> {"codes" int32 [B, L], "class_ids" int32 [B]}, of views that are encoded once.

    Attributes:
      heldout, heldout_labels: codes [n, L] of the plain views of what is held out, and classes.
    """

    def __init__(
        self,
        corpus: Corpus,
        view_maker: ViewMaker,
        tokenizer: Part,
        folder: pathlib.Path,
        *,
        views: int,
        seed: int,
        batch_size: int,
        dtype: str,
    ):
        self._mixture = Mixture(corpus.train, corpus.weights, seed)
        self._seed, self._size, self._views = seed, batch_size, views
        self._rows = np.concatenate(corpus.train)  # increasing, as sets lie one after the other
        self._labels = corpus.images.labels
        encode = lambda images: encode_once(
            images, ((np.arange(len(images)), PLAIN),), tokenizer, folder, dtype
        )
        stored = view_maker.stored(self._rows, views)
        self._codes = encode(stored).of(np.arange(len(stored)))
        length = tokenizer.cfg.length
        self.heldout = np.zeros((0, length), np.int32)
        if len(corpus.heldout):
            held = view_maker.stored(corpus.heldout, 1)
            self.heldout = encode(held).plain(np.arange(len(held)))
        self.heldout_labels = self._labels[corpus.heldout].astype(np.int32)

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        rows = self._mixture.rows(step, self._size)
        view = batches.views(self._seed, step, self._size, self._views)
        places = np.searchsorted(self._rows, rows) * self._views + view
        return {
            "codes": self._codes[places, np.zeros_like(places)].astype(np.int32),
            "class_ids": self._labels[rows].astype(np.int32),
        }
