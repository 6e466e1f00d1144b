"""The task of telling which class each pixel shows, as a job sees it."""

from maskgit_prompt.tasks.segmentation.plan import PARTS, claim, make_plan
from maskgit_prompt.tasks.segmentation.transfer import carry_out

__all__ = ["PARTS", "carry_out", "claim", "make_plan"]
