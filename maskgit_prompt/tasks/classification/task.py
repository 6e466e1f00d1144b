"""The task of telling classes of images apart, as a job sees it."""

from maskgit_prompt.tasks.classification.plan import PARTS, claim, make_plan
from maskgit_prompt.tasks.classification.transfer import carry_out

__all__ = ["PARTS", "carry_out", "claim", "make_plan"]
