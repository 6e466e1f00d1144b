"""The task of answering in words or boxes what is asked of an image, as a job sees it."""

from maskgit_prompt.tasks.multimodal.plan import PARTS, claim, make_plan
from maskgit_prompt.tasks.multimodal.transfer import carry_out

__all__ = ["PARTS", "carry_out", "claim", "make_plan"]
