"""Signals that ask a command to stop: at the next safe moment, with an exit status that says so."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

__all__ = ['STOP', 'StopRequest', 'Stopped']

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
#: Seconds that a training has to end its step; schedulers kill after 10 to 30.
_PATIENCE: Final = 6.0


class Stopped(KeyboardInterrupt):
    """The command is to end, for it was sent a signal."""


class StopRequest:
    """What the process knows about signals that ask it to stop.

    While :meth:`watched`, SIGINT (Ctrl-C) and SIGTERM (of schedulers) raise :class:`Stopped`. A
    training sets :attr:`waits`, and asks :attr:`signum` between two steps: weights that are half
    updated are never saved. A second signal, or a step of many seconds, is not waited for.

    Attributes:
        signum: Number of the first signal; None until there is one.
        waits: Whether somebody asks at safe moments, so that the first signal need not raise.
        is_forced: Whether :class:`Stopped` was raised in the middle of something.
        advice: How to go on, for the last line that is printed.

    Examples:
        >>> from torchgeo_sits.stopping import StopRequest
        >>> stop = StopRequest()
        >>> with stop.watched():
        ...     print(stop.signum)
        None
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.signum: int | None = None
        self.waits = False
        self.is_forced = False
        self.advice = ''
        self._process = 0
        self._timer: threading.Timer | None = None
        self._on_child: Any = None
        self._listened: list[signal.Signals] = []

    @property
    def status(self) -> int:
        """Exit status as shells have it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.signum or signal.SIGTERM)

    @property
    def name(self) -> str:
        """Name of the signal."""
        return signal.Signals(self.signum or signal.SIGTERM).name

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turn signals into requests, from the main thread; elsewhere nothing is done."""
        self._reset()
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._process = os.getpid()
        before: dict[signal.Signals, Any] = {s: signal.getsignal(s) for s in _SIGNALS}
        # Shells let what they start in the background ignore Ctrl-C.
        self._listened = [s for s in _SIGNALS if before[s] is not signal.SIG_IGN]
        try:
            self.listen()
            yield
        finally:
            self.heard()
            if self._on_child is not None:
                before[signal.SIGCHLD] = self._on_child
            for signum, handler in before.items():
                signal.signal(signum, handler)
            self._reset()

    def listen(self) -> None:
        """Take the signals, again where a library has taken them since."""
        if self._process == os.getpid():
            for signum in self._listened:
                signal.signal(signum, self._handle)

    def heard(self) -> None:
        """Say that the request is being answered: nothing is to be hurried any more."""
        self.waits = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a worker that was forked: it is ended by the process that reads from it
        is_first, self.signum = self.signum is None, self.signum or signum
        # Workers that were sent the same signal end: no failure that PyTorch is to raise anywhere.
        if is_first and hasattr(signal, 'SIGCHLD'):
            self._on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if is_first and self.waits:
            self._timer = threading.Timer(_PATIENCE, os.kill, (self._process, signum))
            self._timer.daemon = True
            self._timer.start()
            return
        self.is_forced = True
        raise Stopped


#: That of this process: signals are sent to processes.
STOP: Final = StopRequest()
