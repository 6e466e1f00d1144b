"""How a network is computed. No parameter and no file depends on it."""

import dataclasses
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from maskgit_prompt.errors import UsageError
from maskgit_prompt.models import attention


@dataclasses.dataclass(frozen=True)
class Compute:
    """Attributes:
    dtype: of activations.
    attention: what computes attention, as in models.attention.
    """

    dtype: str = "float32"
    attention: str = "auto"

    @classmethod
    def of(cls, config: ConfigDict) -> "Compute":
        """From a job's config."""
        return cls(config.dtype, config.attention)

    def applied(self, cfg: Any) -> Any:
        """A network's config with these settings, as far as it has attention."""
        more = {"attention_implementation": self.attention} if hasattr(cfg, "heads") else {}
        return dataclasses.replace(cfg, dtype=self.dtype, **more)

    def check(self, cfg: Any, mesh: Mesh) -> None:
        """Raises UsageError if a network of sizes cfg cannot be computed like this here."""
        if not hasattr(cfg, "heads"):
            return
        # A transformer of several stages has heads of one width in all of them.
        heads = cfg.heads if isinstance(cfg.heads, int) else cfg.heads[0]
        try:
            attention.check(self.attention, self.dtype, cfg.width // heads)
        except ValueError as error:
            raise UsageError(f"config.{error}") from error
        if self.attention == "tokamax" and mesh.size > 1:
            raise UsageError(
                f"config.attention = 'tokamax' is for one device, the mesh has {mesh.size}: its "
                "kernels cannot be split; use auto or xla"
            )
