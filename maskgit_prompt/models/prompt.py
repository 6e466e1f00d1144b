"""The prompt token generator (arXiv 2210.00990, section 3.2): conditions in, prompt tokens out.

Shapes: B batch, P prompt tokens, D width, C classes, I instances, F factors, R factor width.
A condition is a class id, an instance id, both or neither. An id of NONE drops that condition, so
one generator makes class-conditional, instance-conditional and unconditional prompts. Three kinds:

  table       E_c,s (+ E_i,s) + E_s            (C + I + 1)·P·D parameters, optionally dense, as in
                                               Visual Prompt Tuning (arXiv 2203.12119)
  additive    LN(E_c (+ E_i) + E_s), then optionally dense: what generative_transfer released
  factorized  MLP(LN(Σ_f (u_f + u_c,f (+ u_i,f)) ⊙ v_s,f))     (1 + C + I + P)·F·R + MLP

E_s and u_f remain when every condition is dropped. Without u_f all tokens of the factorized kind
would then be the same.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.models.kind import Axes
from maskgit_prompt.models.layers import dropout
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

NONE = -1  # the id of a dropped condition
KINDS = ("table", "additive", "factorized")
PROMPT_ATTENTION = ("causal", "both")


@dataclasses.dataclass(frozen=True)
class PromptConfig:
    """Sizes of a prompt generator.

    Attributes:
      kind: one of KINDS.
      tokens: P, prompt tokens per layer.
      width: D, the transformer's width.
      depth: 1 puts tokens in front once; the number of layers makes fresh ones at every layer.
      prefix: make keys and values for every layer instead of tokens (arXiv 2101.00190).
      classes, instances: C and I; 0 leaves that table out.
      embedding: R, width of the tables; 0 means D. An additive prompt of another width than D needs
        `dense`, and a table has another width only with it.
      dense: of the additive kind and of the table: a dense layer from `embedding` to D comes last.
      factors: factorized only: F.
      hidden: factorized only: hidden width of the MLP; 0 means one dense layer.
      dropout: rate on the prompt tokens, in training only.
      drop_class, drop_instance: share of training examples whose condition is dropped.
      attention: in front of a causal transformer, "causal", or "both" if all prompt tokens see each
        other. In front of a masked one they always do.
      uniform: the table's shared part starts uniformly between -uniform and uniform; 0: normally
        distributed with standard deviation 1.
      shared: table only: the same fresh tokens at every layer.
      stages: table without conditions only: fresh tokens before this number of blocks of each
        stage; the transformer's width is D in the first stage and doubles with each. () elsewhere.
      std: the table's shared part starts with this standard deviation; 0: 1.
      reparameterize: prefix of a table only: each of the P tokens has one row of `embedding`
        numbers, and an MLP with this hidden width makes keys and values for all layers of it (arXiv
        2101.00190, section 4.3). `folded` makes a plain table of them. 0: none.
      left_out: prefix only: numbers of layers that get none.
      gated: prefix only: every token has a weight in each layer, which starts at 0, so tuning
        starts from the backbone itself.
    """

    kind: str = "factorized"
    tokens: int = 16
    width: int = 768
    depth: int = 1
    classes: int = 0
    instances: int = 0
    embedding: int = 0
    dense: bool = False
    factors: int = 1
    hidden: int = 0
    dropout: float = 0.0
    drop_class: float = 0.0
    drop_instance: float = 0.0
    prefix: bool = False
    attention: str = "causal"
    uniform: float = 0.0
    shared: bool = False
    stages: tuple[int, ...] = ()
    std: float = 0.0
    reparameterize: int = 0
    left_out: tuple[int, ...] = ()
    gated: bool = False

    def __post_init__(self):
        for name in ("stages", "left_out"):  # in a file they are lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.kind not in KINDS:
            raise ValueError(f"kind = {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.attention not in PROMPT_ATTENTION:
            raise ValueError(
                f"attention = {self.attention!r}, expected one of {', '.join(PROMPT_ATTENTION)}"
            )
        for name, least in (("tokens", 1), ("factors", 1), ("embedding", 0), ("hidden", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}, expected at least {least}")
        if not 0 <= self.dropout < 1:  # the tokens that are left are scaled up by 1 / (1 - dropout)
            raise ValueError(f"dropout = {self.dropout}, expected 0 or more, and below 1")
        for name in ("drop_class", "drop_instance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}, expected 0 to 1")
        if not 0 <= self.uniform < math.inf:
            raise ValueError(f"uniform = {self.uniform}, expected 0 or more")
        if self.shared and (self.kind != "table" or self.place != "layers"):
            raise ValueError("shared = True, expected it with kind 'table' and more than one layer")
        if self.stages and (
            self.kind != "table" or self.dense or self.prefix or self.classes or self.instances
        ):
            raise ValueError(
                f"stages = {self.stages}, expected them with kind 'table' alone: no conditions, no "
                "prefix, not dense"
            )
        if (self.gated or self.left_out) and not self.prefix:
            raise ValueError("gated and left_out are for a prefix: set prefix=True")
        if not self.reparameterize >= 0 or (
            self.reparameterize and (self.kind != "table" or self.dense or not self.prefix)
        ):
            raise ValueError(
                f"reparameterize = {self.reparameterize}, expected 0, or more for a prefix of kind "
                "'table' that is not dense"
            )
        if not set(self.left_out) < set(range(self.depth)) and self.left_out:
            raise ValueError(
                f"left_out = {self.left_out}, expected some of layers 0 to {self.depth - 1}"
            )
        if not 0 <= self.std < math.inf or (self.std and self.uniform):
            raise ValueError(f"std = {self.std}, expected 0 or more, and 0 beside uniform")
        if self.kind == "additive" and not self.dense and self.embedding not in (0, self.width):
            raise ValueError(
                f"embedding = {self.embedding}, expected the width {self.width}: an additive "
                "prompt without a dense layer has no other; or set dense=True"
            )

    @property
    def place(self) -> str:
        """The field of a Prompt that its vectors go to."""
        if self.stages:
            return "stages"
        return "prefix" if self.prefix else "layers" if self.depth > 1 else "tokens"

    @property
    def present(self) -> tuple[int, ...]:
        """The layers that are not left out."""
        return tuple(layer for layer in range(self.depth) if layer not in self.left_out)

    @property
    def slots(self) -> tuple[int, ...]:
        """How many vectors a condition has: (P,), (depth, P), or (depth, 2, P) for a prefix.

        A prefix has none for layers that are left out. For stages (sum of the stages, P), of
        several widths.
        """
        shapes = {"tokens": (), "layers": (self.depth,), "prefix": (len(self.present), 2)}
        shapes["stages"] = (sum(self.stages),)
        return (*shapes[self.place], self.tokens)


class PromptGenerator(nnx.Module):
    """Makes a float32 Prompt of [B] class ids and [B] instance ids."""

    def __init__(self, cfg: PromptConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        slots = cfg.tokens if cfg.shared else math.prod(cfg.slots)
        size = cfg.embedding or cfg.width
        normal = lambda std, *shape: nnx.Param(std * jax.random.normal(rngs.params(), shape))
        if cfg.stages:
            shapes = [(n * cfg.tokens, cfg.width * 2**stage) for stage, n in enumerate(cfg.stages)]
            self.positions = nnx.Dict({str(i): self._start(rngs, x) for i, x in enumerate(shapes)})
        elif cfg.reparameterize:
            item = (cfg.tokens, size)
            self.positions = self._start(rngs, item)
            self.up = nnx.Linear(size, cfg.reparameterize, rngs=rngs)
            outputs = slots // cfg.tokens * cfg.width
            self.out = nnx.Linear(cfg.reparameterize, outputs, rngs=rngs)
        elif cfg.kind == "table":
            item = (slots, size if cfg.dense else cfg.width)
            self.positions = self._start(rngs, item)
            if cfg.dense:
                # Kaiming's normal initializer by outputs, as the reference implementation has it.
                init = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
                self.dense = nnx.Linear(size, cfg.width, kernel_init=init, rngs=rngs)
        elif cfg.kind == "additive":
            item = (size,)
            self.positions = normal(0.02, slots, size)
            self.norm = nnx.LayerNorm(size, epsilon=1e-12, rngs=rngs)
            if cfg.dense:
                self.dense = nnx.Linear(size, cfg.width, rngs=rngs)
        else:
            item = (cfg.factors, size)
            self.base = nnx.Param(jnp.ones(item))
            self.positions = normal(1.0, slots, *item)
            self.norm = nnx.LayerNorm(size, epsilon=1e-6, rngs=rngs)
            if cfg.hidden:
                self.up = nnx.Linear(size, cfg.hidden, rngs=rngs)
            self.out = nnx.Linear(cfg.hidden or size, cfg.width, rngs=rngs)
        # Small compared to the shared part: tuning starts from one prompt for all conditions.
        if cfg.classes:
            self.classes = normal(0.02, cfg.classes, *item)
        if cfg.instances:
            self.instances = normal(0.02, cfg.instances, *item)
        if cfg.gated:
            self.gates = nnx.Param(jnp.zeros((len(cfg.present), cfg.tokens)))

    def _start(self, rngs: nnx.Rngs, shape: tuple[int, ...]) -> nnx.Param:
        if not self.cfg.uniform:
            return nnx.Param((self.cfg.std or 1.0) * jax.random.normal(rngs.params(), shape))
        bounds = {"minval": -self.cfg.uniform, "maxval": self.cfg.uniform}
        return nnx.Param(jax.random.uniform(rngs.params(), shape, **bounds))

    def __call__(
        self, class_ids: Array | None, instance_ids: Array | None = None, key: Array | None = None
    ) -> Prompt:
        """The prompt of ids [B], for the config's place; NONE or no array drops a condition.

        With a key, conditions and tokens are dropped at the config's rates, as in training.
        """
        cfg = self.cfg
        batch = next(len(ids) for ids in (class_ids, instance_ids) if ids is not None)
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        if cfg.stages:
            return self._staged(batch, keys[2])
        condition = 0.0
        if cfg.classes and class_ids is not None:
            condition += _lookup(self.classes[...], class_ids, cfg.drop_class, keys[0])
        if cfg.instances and instance_ids is not None:
            condition += _lookup(self.instances[...], instance_ids, cfg.drop_instance, keys[1])
        tokens = self._tokens(condition)
        if cfg.shared:
            tokens = jnp.tile(tokens, (cfg.depth, 1))
        tokens = jnp.broadcast_to(tokens, (batch, math.prod(cfg.slots), cfg.width))
        tokens = dropout(tokens, cfg.dropout, keys[2])
        found = tokens.reshape(batch, *cfg.slots, cfg.width)
        if not cfg.left_out and not cfg.gated:
            return Prompt(**{cfg.place: found})
        return self._weighted(found)

    def _weighted(self, prefix: Array) -> Prompt:
        """[B, present layers, 2, P, D] as the prefix of all layers, with weights [B, layers, P]."""
        cfg, layers = self.cfg, np.array(self.cfg.present)
        gates = jnp.ones((len(layers), cfg.tokens))
        if cfg.gated:
            # Not below 0, but with a gradient there, so that a token can come back.
            gates = self.gates[...]
            gates = gates + jax.lax.stop_gradient(jnp.maximum(gates, 0) - gates)
        batch, _, *rest = prefix.shape
        weights = jnp.zeros((cfg.depth, cfg.tokens)).at[layers].set(gates)
        return Prompt(
            prefix=jnp.zeros((batch, cfg.depth, *rest)).at[:, layers].set(prefix),
            weights=jnp.broadcast_to(weights, (batch, *weights.shape)),
        )

    def _staged(self, batch: int, key: Array | None) -> Prompt:
        cfg, stages = self.cfg, []
        for stage, count in enumerate(cfg.stages):
            x = self.positions[str(stage)][...]
            x = jnp.broadcast_to(x, (batch, *x.shape))
            one = None if key is None else jax.random.fold_in(key, stage)
            x = dropout(x, cfg.dropout, one)
            stages.append(x.reshape(batch, count, cfg.tokens, -1))
        return Prompt(stages=tuple(stages))

    def _tokens(self, condition: Array | float) -> Array:
        """The rule of the kind; condition [B, …] has the shape of a table's rows, or is 0."""
        if self.cfg.reparameterize:
            x = self.out(jax.nn.relu(self.up(self.positions + condition)))
            x = x.reshape(*x.shape[:-1], -1, self.cfg.width)  # … P, layers · 2, D
            x = jnp.swapaxes(x, -3, -2)
            return x.reshape(*x.shape[:-3], -1, self.cfg.width)  # … layers · 2 · P, D
        if self.cfg.kind == "table":
            x = self.positions + condition  # [B, P, E] or [P, E]
            return self.dense(x) if self.cfg.dense else x  # … D
        slot = lambda x: x if isinstance(x, float) else x[:, None]  # [B, …] -> [B, 1, …]
        if self.cfg.kind == "additive":
            x = self.norm(slot(condition) + self.positions)  # [B, P, E]
            return self.dense(x) if self.cfg.dense else x  # [B, P, D]
        product = (self.base + slot(condition)) * self.positions  # [B, P, F, R]
        x = self.norm(jnp.sum(product, axis=-2))  # [B, P, R]
        if self.cfg.hidden:
            x = jax.nn.gelu(self.up(x))
        return self.out(x)  # [B, P, D]


def _lookup(table: Array, ids: Array, drop: float, key: Array | None) -> Array:
    """Rows of table [C, …] for ids [B] -> [B, …]; zeros for NONE and for a dropped share."""
    if key is not None and drop > 0.0:
        ids = jnp.where(jax.random.bernoulli(key, drop, ids.shape), NONE, ids)
    rows = table[jnp.maximum(ids, 0)]
    return jnp.where((ids >= 0).reshape(-1, *[1] * (rows.ndim - 1)), rows, 0.0)


def folded(cfg: PromptConfig, tree: dict) -> tuple[PromptConfig, dict]:
    """The same prompts as a plain table: (config, parameters) without `reparameterize`.

    Others stay as they are. The MLP is many times larger than what it makes.

    Raises:
      ValueError: it has classes and instances, whose sum the MLP takes.
    """
    if not cfg.reparameterize:
        return cfg, tree
    if cfg.classes and cfg.instances:
        raise ValueError("a reparameterized prefix of classes and instances cannot be folded")
    make = lambda rngs: PromptGenerator(cfg, rngs=rngs)
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    generator = nnx.merge(graphdef, tree)
    found = {"positions": generator._tokens(0.0)}
    for name in ("classes", "instances"):
        if name in tree:
            found[name] = generator._tokens(jnp.asarray(tree[name])) - found["positions"]
    if "gates" in tree:
        found["gates"] = tree["gates"]
    return dataclasses.replace(cfg, reparameterize=0, embedding=0), found


# On every device, so that gradient traffic is only the prompt's size.
AXES: Axes = ((r".*", None),)
