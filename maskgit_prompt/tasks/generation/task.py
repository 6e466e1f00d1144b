"""The task of generating images of a new domain, as a job sees it."""

from maskgit_prompt.tasks.generation.plan import claim, make_plan
from maskgit_prompt.tasks.generation.transfer import carry_out

__all__ = ["carry_out", "claim", "make_plan"]
