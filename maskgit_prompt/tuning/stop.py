"""Stopping a run: after SIGTERM or Ctrl-C it finishes its step and saves.

With several hosts JAX tells all of them when one gets a signal, so they stop at the same step.
"""

import os
import signal
import sys
import threading

import jax

from maskgit_prompt.errors import INTERRUPTED, TERMINATED

_CODES = {signal.SIGTERM: TERMINATED, signal.SIGINT: INTERRUPTED}


class Stop:
    """Notes SIGTERM and SIGINT inside its context; a second SIGINT ends the process at once.

    Attributes:
      code: the exit code for the signal, 143 or 130; 0 before a signal.
    """

    def __enter__(self):
        self.code = 0
        self._before = {}
        if threading.current_thread() is not threading.main_thread():
            return self  # a notebook's worker: it gets no signals
        # With several hosts JAX handles SIGTERM and tells the others.
        wanted = (signal.SIGINT,) if jax.process_count() > 1 else (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._note) for number in wanted}
        # Python calls handlers only between steps, and a step or its compilation may take minutes.
        # The bytes of this pipe arrive at once.
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _note(self, number: int, _) -> None:
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.code = self.code or _CODES[signal.Signals(number)]

    def _watch(self) -> None:
        interrupts = 0
        while byte := os.read(self._pipe[0], 1):
            interrupts += byte[0] == signal.SIGINT
            if interrupts > 1:
                os._exit(INTERRUPTED)
            if byte[0] == signal.SIGINT:
                note = "\nstopping after this step, with a save; Ctrl-C again ends at once\n"
                sys.stderr.write(note)
                sys.stderr.flush()

    def __exit__(self, *_):
        if not self._before:
            return
        signal.set_wakeup_fd(self._wakeup)
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._pipe[1])
        self._watcher.join()
        os.close(self._pipe[0])
