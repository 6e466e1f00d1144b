"""The loss on the cells of an image's grid."""

import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.tasks.pretraining.cells import CHOICES, EDGES, cell_loss

# Two examples of two cells each: what is right, counted from 1; 0 shows nothing.
NAMES = np.array([[[1, 8, 3], [0, 0, 0]], [[2, 1, 6], [2, 1, 6]]])
EDGES_RIGHT = np.zeros((2, 2, 4))


def found(right: float, off: float):
    """Logits of `right` at the right names and 0 elsewhere, and edges that are `off`."""
    logits = [right * jnp.eye(n)[NAMES[..., i]] for i, n in enumerate(CHOICES)]
    return logits, jnp.full((2, 2, 4), off)


def test_guessing_costs_the_logarithm_of_the_choices():
    loss = cell_loss(found(0.0, 0.0), NAMES, EDGES_RIGHT, np.ones(2, bool))
    assert float(loss) == pytest.approx(np.log(CHOICES).sum(), rel=1e-6)
    sure = cell_loss(found(50.0, 0.0), NAMES, EDGES_RIGHT, np.ones(2, bool))
    assert float(sure) == pytest.approx(0, abs=1e-6)


def test_edges_count_where_something_is_shown():
    logits, edges = found(50.0, 0.25)
    edges = edges.at[0, 1].set(9.0)  # of the cell that shows nothing
    loss = cell_loss((logits, edges), NAMES, EDGES_RIGHT, np.ones(2, bool))
    assert float(loss) == pytest.approx(0.25 * EDGES, rel=1e-6)


def test_examples_without_an_image_do_not_count():
    logits, edges = found(50.0, 0.0)
    wrong = [x.at[1].set(-x[1]) for x in logits]
    far = edges.at[1].set(1.0)
    there = np.array([True, False])
    assert float(cell_loss((wrong, far), NAMES, EDGES_RIGHT, there)) == pytest.approx(0, abs=1e-6)
    assert float(cell_loss((wrong, far), NAMES, EDGES_RIGHT, ~there)) > 100
