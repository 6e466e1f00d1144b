"""Named random streams of one config.seed, so that no two uses share numbers by accident.

A stream's seed is config.seed plus its number. Three share the number 0 and never meet: "classes"
is numpy's, and the job that draws "more" makes no "prompt". Numbers never change: a new number
would change the images of every finished run. Images, batches and views have streams of their own,
with words in front of their numbers (data/batches.py).
"""

STREAMS = {
    "prompt": 0,  # the prompt generator's first parameters, a pretrained network's
    "train": 1,  # masks, dropped conditions and dropout of every training step
    "generate": 2,  # images of a tuned prompt and the untuned ones
    "marquee": 3,  # images under a marquee header, the same noise at every cutoff
    "scratch": 4,  # a transformer's first parameters, trained from scratch
    "evaluate": 5,  # masks of held-out and training losses, the same at every call
    "discriminator": 6,  # a discriminator's first parameters
    "cells": 7,  # the first parameters of a head on an image's cells
    "look": 8,  # numpy's: which codes are hidden while attention to a prompt is averaged
    "more": 0,  # images of the sampling job, which trains nothing
    "classes": 0,  # numpy's: which of the backbone's own classes untuned images show
}


def seed_of(seed: int, stream: str) -> int:
    """The seed of a stream: seed 42 and "marquee" give 45.

    Raises:
      KeyError: no such stream, a bug of ours.
    """
    return seed + STREAMS[stream]
