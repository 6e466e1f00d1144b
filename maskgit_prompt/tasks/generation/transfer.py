"""A plan carried out: codes -> tuned prompt -> samples -> scores -> report.

1. Encode the images once.
2. Tune the prompt.
3. Generate images of every class, and a marquee from an instance's prompt to its class's.
4. Score them, beside real, reconstructed and untuned ones; look at the prompts.
5. Write prompt.safetensors, results.json, report.html, samples/ and images/.
"""

import dataclasses
import pathlib

import numpy as np

from maskgit_prompt.devices import distributed
from maskgit_prompt.progress import Clock
from maskgit_prompt.report import results, sheets
from maskgit_prompt.report.transfer import transfer_report
from maskgit_prompt.tasks.generation import pictures
from maskgit_prompt.tasks.generation.encoding import encode
from maskgit_prompt.tasks.generation.images import (
    TunedSampler,
    classes_to_draw,
    marquee_of,
    untuned_images,
)
from maskgit_prompt.tasks.generation.outputs import save_choice, save_images, save_prompt
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.prompt_analysis import analyse
from maskgit_prompt.tasks.generation.prompt_tuning import tune_prompt, tuning_codes
from maskgit_prompt.tasks.generation.score import Scorer
from maskgit_prompt.tasks.generation.summary import last_words, summarize
from maskgit_prompt.tuning.methods import ORIGINS

REPORT = "report.html"  # written last: where it is, the run is finished


def carry_out(
    plan: Plan, home: pathlib.Path, clock: Clock, untuned: np.ndarray | None = None
) -> np.ndarray:
    """Does all that follows the plan, in a workdir that was claimed.

    Args:
      clock: holds the seconds of stages before.
      untuned: what this gave for another plan on the backbone: taken if as many images are needed.

    Returns:
      Images of the backbone without tuning, uint8 [n, S, S, 3].
    """
    config, data, backbone = plan.config, plan.data, plan.backbone
    earlier = results.read_run(home) if (home / "results.json").exists() else None

    # 1. Codes.
    if config.data.shots:
        save_choice(home, data)
    with clock("encode"):
        stored = encode(plan, home)

    # 2. The prompt.
    with clock("tune"):
        tuned = tune_prompt(plan, tuning_codes(plan, stored), home)

    # 3. Images.
    classes = classes_to_draw(plan)
    with clock("sample"):
        drawing = TunedSampler.of(plan, tuned.transformer, tuned.prompt)
        generated = drawing.of_classes(plan, classes)
        per_image = drawing.sampler.seconds_per_image
    with clock("untuned"):
        if untuned is None or len(untuned) != len(classes):
            untuned = untuned_images(plan, len(classes))
    with clock("judge"):
        scorer = Scorer(plan, stored, drawing.sampler.decode)
    with clock("marquee"):
        strip, marquee = marquee_of(plan, stored, drawing, scorer)

    # 4. Scores.
    with clock("score"):
        scores = {"prompt": scorer(generated, classes), "untuned": scorer(untuned, classes)}
        found = summarize(plan, scorer, scores, tuned, marquee, classes)
    analysis = None
    if config.score.prompts:
        with clock("look"):
            analysis = analyse(plan, stored, drawing.prompts, tuned.transformer)
            found = dataclasses.replace(found, prompts=analysis.to_json(data.images.classes))
    found = dataclasses.replace(
        found,
        encoded=len(stored),
        encoded_per_second=stored.images_per_second,
        seconds_per_image=per_image,
    )

    # 5. Files.
    with clock("report"):
        path, again = save_prompt(plan, tuned, found.to_json(), home)
        copies = scores["prompt"].found["near_copies"]
        made = pictures.Made(generated, classes, untuned, strip, copies["pairs"])
        cutoffs = config.score.marquee_cutoffs
        drawn = pictures.draw(data, scorer, made, tuned.run.curves, cutoffs)
        if analysis is not None:
            drawn |= analysis.draw(data.images.classes)
        sheets.save_all(drawn, home / "samples")
        save_images(home, data.images.classes, classes, generated, config.score.saved)
    seconds = {stage: round(s, 2) for stage, s in clock.seconds.items()}
    if tuned.run.resumed == tuned.run.steps and earlier:
        # A finished run was started again: this start tuned nothing.
        seconds["tune"] = earlier.seconds["tune"]
    found = dataclasses.replace(
        found, prompt_name=path.name, prompt_bytes=path.stat().st_size, seconds=seconds
    )
    results.write_json(home / "results.json", found.to_json())
    transfer_report(
        home / REPORT,
        found,
        {name: picture for name, picture in drawn.items() if name != "glance"},
        origins=ORIGINS,
        title=f"Prompt tuning: {data.images.name} on {backbone.name}",
        command=again,
    )
    if distributed.is_first():
        print(last_words(home, found))
    return untuned
