"""Wrong changes that tests have to notice, for tests/mutants.py: a file per room or two."""

from tests.mutations import (
    answers,
    classification,
    config,
    data,
    decoding,
    fetching,
    gathering,
    images,
    jobs,
    listed,
    losses,
    metrics,
    multimodal,
    pages,
    perceptual,
    pretraining,
    prompts,
    scenes,
    scores,
    segmentation,
    texts,
    tuning,
)
from tests.mutations.mutation import Mutation

__all__ = ["MUTATIONS", "Mutation"]

MUTATIONS = (
    *metrics.MUTATIONS,
    *scores.MUTATIONS,
    *images.MUTATIONS,
    *losses.MUTATIONS,
    *perceptual.MUTATIONS,
    *pretraining.MUTATIONS,
    *tuning.MUTATIONS,
    *prompts.MUTATIONS,
    *decoding.MUTATIONS,
    *data.MUTATIONS,
    *gathering.MUTATIONS,
    *pages.MUTATIONS,
    *jobs.MUTATIONS,
    *config.MUTATIONS,
    *fetching.MUTATIONS,
    *classification.MUTATIONS,
    *listed.MUTATIONS,
    *texts.MUTATIONS,
    *scenes.MUTATIONS,
    *segmentation.MUTATIONS,
    *multimodal.MUTATIONS,
    *answers.MUTATIONS,
)
