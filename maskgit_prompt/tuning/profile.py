"""A profiler's trace of a few steps, on demand, for TensorBoard's profile plugin and XProf."""

import dataclasses
import pathlib
import re

import jax
from absl import logging

from maskgit_prompt.errors import UsageError, unwritable

EXPECTED = "START:STEPS such as 20:5, the five steps that follow step 20, or nothing"
FORM = re.compile(r"(\d+):([1-9]\d*)")


@dataclasses.dataclass
class Profile:
    """Traces `steps` steps that follow step `start`, into a folder.

    As a context manager it always ends a trace that it began.
    """

    start: int = 0
    steps: int = 0
    folder: pathlib.Path = pathlib.Path()
    _running: bool = False

    def before(self, index: int) -> None:
        """Called before the step that follows step `index`."""
        if not self._running and self.start <= index < self.start + self.steps:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                jax.profiler.start_trace(self.folder)
            except OSError as error:
                raise unwritable(self.folder, error) from error
            self._running = True

    def ends(self, taken: int) -> bool:
        """Whether the trace ends with step `taken`; finish that step before `stop`."""
        return self._running and taken == self.start + self.steps

    def stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def bounds(text: str, steps: int) -> tuple[int, int]:
    """(start, number) of the steps in config.profile; (0, 0) if it is empty.

    steps: how many the run has.

    Raises:
      UsageError: the form is not START:STEPS, or the run does not have these steps.
    """
    if not text:
        return 0, 0
    found = FORM.fullmatch(text)
    if not found:
        raise UsageError(f"config.profile = {text!r}, expected {EXPECTED}")
    start, count = map(int, found.groups())
    if start + count > steps:
        raise UsageError(
            f"config.profile = {text!r} goes to step {start + count}, the run has {steps}; "
            f"expected {EXPECTED}"
        )
    return start, count


def parse(text: str, steps: int, resumed: int, folder: pathlib.Path) -> Profile:
    """The profile for config.profile, which `bounds` reads.

    Args:
      resumed: the step that the run continues from; earlier steps cannot be traced any more.
    """
    start, count = bounds(text, steps)
    if count and resumed > start:
        left = max(0, start + count - resumed)
        logging.warning(
            "config.profile = %s: the run is at step %d; %d traced", text, resumed, left
        )
    return Profile(start, count, folder)
