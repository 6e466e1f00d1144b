"""The patch discriminator: what a logit sees, and that images do not see each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.models.patch import PatchConfig, PatchDiscriminator


def make(**sizes):
    cfg = PatchConfig(**({"image_size": 32, "width": 8, "layers": 2, "groups": 4} | sizes))
    graphdef, init = params.create(lambda rngs: PatchDiscriminator(cfg, rngs=rngs))
    tree = init(jax.random.key(0))
    return jax.jit(lambda images: nnx.merge(graphdef, tree)(images)), tree


def images(count: int = 2) -> jax.Array:
    return jax.random.uniform(jax.random.key(1), (count, 32, 32, 3))


def test_one_logit_for_each_patch():
    run, tree = make()
    assert run(images()).shape == (2, 6, 6, 1)  # 32 / 4 - 2
    widths = [x.shape[-1] for name, x in params.flatten(tree).items() if name.endswith("kernel")]
    assert sorted(widths) == [1, 8, 16, 32]
    run, _ = make(layers=3)
    assert run(images()).shape == (2, 2, 2, 1)


def test_an_images_logits_do_not_depend_on_the_others():
    run, _ = make()
    both, alone = run(images()), run(images()[1:])
    np.testing.assert_allclose(both[1:], alone, atol=1e-5)


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"width": 10, "groups": 4}, "width 10 does not divide into 4 groups"),
        ({"image_size": 16, "layers": 3}, "3 layers leave no patch of images of 16 pixels"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        PatchConfig(**({"image_size": 32, "width": 8, "layers": 2, "groups": 4} | sizes))


def test_the_gradient_reaches_every_pixel():
    run, _ = make()
    gradient = jax.grad(lambda x: jnp.sum(run(x) ** 2))(images(1))
    assert float(jnp.min(jnp.max(jnp.abs(gradient), -1))) > 0
