"""A grid of ways to decode a tuned prompt, each scored as the run was that tuned it.

1. Read the run: its prompt, its settings, its images. Check the grid.
2. Compute once what all settings share: the codes and features of real images, the judge.
3. For every setting draw images from the same noise, score them and keep a row. Finished rows are
   kept when the job starts again.
4. Choose by config.by. The best of many numbers is best by luck in part, so draw for it and for the
   run's own setting once more, from other noise.
5. Write results.csv, results.json and report.html; print the best setting and its flags.
"""

import csv
import dataclasses
import io
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from maskgit_prompt import params
from maskgit_prompt.config import defaults, grid, rules
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.devices import distributed, sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.metrics.formats import brackets
from maskgit_prompt.metrics.run_result import INTERVALS, RunResult
from maskgit_prompt.metrics.scores import HIGHER, SCORES
from maskgit_prompt.report import results, sheets
from maskgit_prompt.report.sample_study import sample_study_report
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import read_json, write_whole
from maskgit_prompt.tasks import claims
from maskgit_prompt.tasks.generation import earlier, pictures
from maskgit_prompt.tasks.generation.encoding import encode
from maskgit_prompt.tasks.generation.images import TunedSampler, classes_to_draw
from maskgit_prompt.tasks.generation.plan import Plan, make_plan, parts
from maskgit_prompt.tasks.generation.score import Scorer

MEASURED = tuple(name for name, score in SCORES.items() if score.measure)
ROW = (*MEASURED, "seconds_per_image")
AGAIN = 1  # added to the seed of the second noise
Row = dict[str, Any]


def run(config: ConfigDict, path: str) -> None:
    rules.check(config)

    # 1. The run.
    if not config.prompt:
        raise UsageError("no run: give its folder, as --config=configs/sample_study.py:runs/mine")
    workdir.check(path, config)
    found = earlier.load(config.prompt, defaults.transfer())
    one, mesh = as_now(found, config), sharding.make_mesh(**config.mesh)
    backbone = obtain.tuned_on(one, {str(found.file): found.prompt.backbone})
    own = DecodeConfig(**one.sample)
    kind = backbone.part("transformer").kind
    settings = grid.expand(config.grid, dataclasses.asdict(own), kind)
    for changes in settings:
        decoding = dataclasses.replace(own, **changes)
        decoding.check(backbone.part("tokenizer").cfg.codebook, kind, mesh)
    plan = make_plan(one, backbone, mesh, found.folder)
    plan = dataclasses.replace(plan, prompt_config=found.prompt.config)

    with workdir.prepare(path, config) as home:
        workdir.bind(home, found.images)  # so that other images than the run's are refused
        claims.bind(plan.data, parts(plan), home)

        # 2. What all share.
        study = Study.of(plan, found.prompt.tree, home)

        # 3. Rows.
        rows = []
        for number, changes in enumerate(settings, 1):
            name = grid.in_words(changes)
            if distributed.is_first():
                print(f"setting {number} of {len(settings)}: {name}", flush=True)
            rows.append(study.row(changes, config.seed))

        # 4. The best, and once more.
        best = choose(rows, config.by)
        changed = [best["changes"]] if best["changes"] else []
        again = [study.row(changes, config.seed + AGAIN) for changes in ({}, *changed)]

        # 5. Files.
        write(home, rows, again, best, config, study.scorer.warnings, found.file)


def as_now(found: earlier.Run, config: ConfigDict) -> ConfigDict:
    """The run's config, with what the study says of places and of how many images to draw."""
    one, changed = ConfigDict(found.config.to_dict()), found.folder / "backbone"
    # A run that trained its transformer left that beside the prompt.
    one.backbone = config.backbone or (str(changed) if changed.exists() else one.backbone)
    one.download = config.download
    one.data.codes = one.data.codes or str(found.folder / "codes")
    one.data.path = config.data.path or one.data.path
    one.mesh = config.mesh
    if config.per_class:
        one.score.per_class, one.score.images = config.per_class, 0
    return one


@dataclasses.dataclass(frozen=True)
class Study:
    """What settings share.

    Attributes:
      plan: of the run; its config.sample and its seed are replaced.
      transformer, prompt: parameters, on the mesh and on the host.
      classes: of the images that each setting draws.
    """

    plan: Plan
    scorer: Scorer
    transformer: params.Tree
    prompt: params.Tree
    classes: np.ndarray
    home: pathlib.Path

    @classmethod
    def of(cls, plan: Plan, prompt: params.Tree, home: pathlib.Path) -> "Study":
        transformer = plan.backbone.part("transformer").placed(plan.mesh)
        decode = TunedSampler.of(plan, transformer, prompt).sampler.decode
        scorer = Scorer(plan, encode(plan, home), decode)
        return cls(plan, scorer, transformer, prompt, classes_to_draw(plan), home)

    def row(self, changes: grid.Changes, seed: int) -> Row:
        """The setting's row, from its folder or made now."""
        folder = self.home / "settings" / f"{grid.in_words(changes)},seed={seed}"
        done = folder / "row.json"
        if done.exists():
            row = read_json(done, f"delete {folder} to draw for this setting again")
            return row | {"changes": changes}  # in their order, which the file has not
        config = ConfigDict(self.plan.config.to_dict())
        config.seed = seed
        config.sample.update(changes)
        plan = dataclasses.replace(self.plan, config=config)
        drawing = TunedSampler.of(plan, self.transformer, self.prompt)
        images = drawing.of_classes(plan, self.classes)
        result = RunResult(
            scores={"prompt": self.scorer(images, self.classes)},
            seconds_per_image=drawing.sampler.seconds_per_image,
        )
        row = {"setting": grid.in_words(changes), "seed": seed, "changes": changes}
        row |= {"calls": drawing.sampler.calls_per_batch, "folder": str(folder.name)}
        row |= result.row(ROW)
        sheet = pictures.sheet(images, self.classes, plan.data.images.classes)
        sheets.save_png(sheet, folder / "sheet.png")
        results.write_json(done, row)  # last: it marks the setting as finished
        return results.to_json(row)


def choose(rows: Sequence[Row], by: str) -> Row:
    """The row with the best number; of equals the first.

    Raises:
      UserError: no row has that number.
    """
    known = [row for row in rows if row.get(by) is not None]
    if not known:
        have = [x for x in MEASURED if x != "near_copies" and rows[0].get(x) is not None]
        raise UserError(
            f"config.by = {by!r}, but no setting has this score here; choose by another in a new "
            f"--workdir ({', '.join(have) or 'there is none'}), or draw more images per class"
        )
    return (max if SCORES[by].better == HIGHER else min)(known, key=lambda row: row[by])


def last_words(rows: Sequence[Row], again: Sequence[Row], best: Row, by: str) -> str:
    """The best setting in one line, with the run's own and both from other noise beside it."""
    score = SCORES[by]
    value = lambda row: score.format(row[by])
    limits = best.get(INTERVALS, {}).get(by)
    if not best["changes"]:
        return f"best of {len(rows)} settings by {score.label}: the run's own, {value(best)}"
    own, renewed = again
    found = " ".join(filter(None, [value(best), brackets(limits, score.format)]))
    near = ", within that interval" if limits and limits[0] <= rows[0][by] <= limits[1] else ""
    return (
        f"best of {len(rows)} settings by {score.label}: {best['setting']}, {found}, the run's own "
        f"{value(rows[0])}{near}; from other noise {value(renewed)}, the run's own {value(own)}"
    )


def write(
    home: pathlib.Path,
    rows: Sequence[Row],
    again: Sequence[Row],
    best: Row,
    config: ConfigDict,
    warnings: Sequence[str],
    file: pathlib.Path,
) -> None:
    """Writes the files over all settings, and says on the terminal what they say.

    Args:
      rows: the run's own setting first.
      again: from other noise the run's own setting, and the best one if that is another.
      file: the prompt file.
    """
    words = last_words(rows, again, best, config.by)
    command = ["python", "-m", "maskgit_prompt.main", "--config=configs/sample.py"]
    command += [f"--config.prompt={file}", "--workdir=runs/more"]
    command = " ".join(filter(None, [shlex.join(command), grid.flags(best["changes"])]))
    write_whole(home / "results.csv", as_csv([*rows, *again]).encode())
    results.write_json(
        home / "results.json",
        {
            "best": {"setting": best["setting"], "by": config.by, "changes": best["changes"]},
            "rows": rows,
            "again": again,
            "warnings": warnings,
            "config": config.to_dict(),
        },
    )
    drawn = {}
    for row in rows:
        with Image.open(home / "settings" / row["folder"] / "sheet.png") as sheet:
            drawn[row["setting"]] = sheet.copy()
    sample_study_report(
        home / "report.html",
        rows,
        again,
        drawn,
        best=best["setting"],
        by=config.by,
        words=words,
        command=command,
        warnings=warnings,
        config=config.to_dict(),
    )
    if distributed.is_first():
        print(f"{words}\nreport: {home / 'report.html'}\nuse it: {command}")


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One row per setting and noise: what it changes, its scores and their 95 % intervals."""
    names = list(dict.fromkeys(name for row in rows for name in row["changes"]))
    bounded = [name for name in ROW if any(name in row.get(INTERVALS, {}) for row in rows)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    ends = [f"{name}_{end}" for name in bounded for end in ("low", "high")]
    table.writerow(["setting", "seed", *names, "calls", *ROW, *ends])
    for row in rows:
        limits = [row.get(INTERVALS, {}).get(name, ("", "")) for name in bounded]
        cells = [row["setting"], row["seed"], *(row["changes"].get(name, "") for name in names)]
        cells += [row["calls"], *(row.get(name) for name in ROW)]
        table.writerow([*cells, *(end for pair in limits for end in pair)])
    return text.getvalue()
