"""Re-masking: codes that were decided are hidden again, so that later steps may change them.

A step hides a share of the codes that it finds decided, evenly chosen; those known at the start
stay. As many other codes are decided instead, so a step leaves as many hidden as without. With d
decided codes, a share s, `most` codes hidden after the step and a random u in [0, 1) they are

    min(floor(s * d + u), most)

For example s = 0.25 and d = 6: s * d = 1.5, so one code is hidden again or two, each in half of the
images. A share of 0 hides none.

Source: ReMDM (arXiv 2503.00307), whose posterior keeps the number of hidden codes on average. Its
capped schedule hides each decided code with probability min(s, (1 - alpha_s) / alpha_t) on its
own; the second is most / d here. Numbers are drawn whole, since this package's steps have exact
counts.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.decoding import orders


def hidden_again(key: jax.Array, decided: jax.Array, share: ArrayLike, most: jax.Array):
    """Marks which codes are hidden again.

    Args:
      key: JAX random key.
      decided: bool [B, L], the codes that may be.
      share: s in [0, 1], may be traced.
      most: [B, 1].

    Returns:
      bool [B, L].
    """
    count_key, choice_key = jax.random.split(key)
    u = jax.random.uniform(count_key, most.shape)
    count = jnp.floor(share * jnp.sum(decided, axis=-1, keepdims=True) + u)  # [B, 1]
    drawn = jnp.where(decided, jax.random.uniform(choice_key, decided.shape), jnp.inf)
    rank = orders.places(jnp.argsort(drawn, axis=-1))
    return decided & (rank < jnp.minimum(count, most))
