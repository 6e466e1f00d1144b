"""What each cell of a scene's picture shows: answers that teach an image's grid directly."""

import numpy as np

from maskgit_prompt.data.sets.scenes import COLOURS, SHAPES, SIZES, Scene

ATTRIBUTES = (tuple(SIZES), tuple(COLOURS), tuple(SHAPES))
LEAST = 0.2  # share of a cell that a thing's box must cover to be what the cell shows


def cells_of(scene: Scene, across: int) -> tuple[np.ndarray, np.ndarray]:
    """(names int32 [across, across, 3], edges float32 [across, across, 4]), rows from the top.

    names: size, colour and shape of the thing whose box covers most of a cell, counted from 1 as in
    ATTRIBUTES; 0 where none covers a fifth of it. edges: left, top, right and bottom of its box as
    shares of the side, or 0.
    """
    side = scene.side / across
    low = side * np.arange(across)
    names = np.zeros((across, across, len(ATTRIBUTES)), np.int32)
    edges = np.zeros((across, across, 4), np.float32)
    covered = np.full((across, across), LEAST * side**2)
    for thing in scene.things:
        left, top, right, bottom = thing.box
        wide = np.clip(np.minimum(right, low + side) - np.maximum(left, low), 0, None)
        high = np.clip(np.minimum(bottom, low + side) - np.maximum(top, low), 0, None)
        area = high[:, None] * wide
        most = area > covered
        covered[most] = area[most]
        own = zip(ATTRIBUTES, (thing.size, thing.colour, thing.shape), strict=True)
        names[most] = [1 + known.index(name) for known, name in own]
        edges[most] = np.array(thing.box) / scene.side
    return names, edges
