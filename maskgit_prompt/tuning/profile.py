"""A profiler's trace of a few steps, on demand; TensorBoard's profile plugin and XProf read it."""

import dataclasses
import pathlib
import re

import jax
from absl import logging

from maskgit_prompt.errors import UsageError, unwritable

EXPECTED = "START:STEPS as 20:5, the five steps that follow step 20, or nothing"
FORM = re.compile(r"(\d+):([1-9]\d*)")


@dataclasses.dataclass
class Profile:
    """Traces the steps that follow step `start`, as many as `steps`, into a folder.

    As a context it ends a trace that was begun, whatever happens.
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
        """Whether the trace ends with step `taken`; that step must be done before `stop`."""
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
    """(start, number) of the steps that config.profile asks for; (0, 0) for an empty text.

    steps: how many the run has.

    Raises:
      UsageError: another form than START:STEPS, or steps that the run does not have.
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
    """The profile that config.profile asks for, as `bounds` reads it.

    Args:
      resumed: the step that the run goes on from. What was taken before cannot be traced any more.
    """
    start, count = bounds(text, steps)
    if count and resumed > start:
        left = max(0, start + count - resumed)
        logging.warning(
            "config.profile = %s: the run is at step %d; %d traced", text, resumed, left
        )
    return Profile(start, count, folder)
