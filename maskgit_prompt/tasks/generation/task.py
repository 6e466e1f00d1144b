"""The task of generating images of a new domain, as a job sees it."""

from maskgit_prompt.tasks.generation.plan import PARTS, claim, make_plan
from maskgit_prompt.tasks.generation.transfer import carry_out

__all__ = ["PARTS", "carry_out", "claim", "make_plan"]
