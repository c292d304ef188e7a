"""A function on a thread of its own that can be paused from within, anywhere below it."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import copy_context

import torch


class Cancelled(BaseException):
    """Unwinds a paused function that is no longer wanted; not an `Exception`, so that models do not catch it."""


class Ambient:
    """What torch keeps for each thread, as it is on the thread that makes this: autocast, device and stream."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.default = torch.get_default_device()
        self.stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self.cache = torch.is_autocast_cache_enabled()
        self.autocast = {
            kind: (torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) for kind in {"cpu", device.type}
        }

    def enter(self, stack: ExitStack) -> None:
        """Set it on the calling thread, without gradients, until `stack` closes."""
        stack.enter_context(torch.no_grad())
        if self.stream is not None:
            stack.enter_context(torch.cuda.device(self.device))
            stack.enter_context(torch.cuda.stream(self.stream))
        if self.default.type != "cpu":
            stack.enter_context(self.default)
        for kind, (dtype, enabled) in self.autocast.items():
            if enabled:
                stack.enter_context(torch.autocast(kind, dtype=dtype, cache_enabled=self.cache))


class Run:
    """Runs `work` whenever `resume` is called, until it calls `pause` or ends. Only one side runs at a time.

    Frames stay alive while paused, so a forward of any model can stop in the middle of a layer and go on later.
    """

    def __init__(self, work: Callable[[], object], ambient: Ambient) -> None:
        self.over = False
        self._work, self._ambient = work, ambient
        self._error: BaseException | None = None
        self._cancelled = False
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=copy_context().run, args=(self._main,), daemon=True)
        self._thread.start()

    def resume(self) -> bool:
        """Run on; True if paused again, False once over. Raises what `work` raised."""
        self._go.release()
        self._back.acquire()
        if not self.over:
            return True
        self._thread.join()
        if self._error is not None:
            raise self._error
        return False

    def pause(self) -> None:
        """Called on the run's own thread: come back when resumed."""
        self._back.release()
        self._wait()

    def cancel(self) -> None:
        """Unwind what is paused, and wait until it is over."""
        self._cancelled = True
        if self._go.locked():
            self._go.release()
        self._thread.join()

    def _wait(self) -> None:
        self._go.acquire()
        if self._cancelled:
            raise Cancelled

    def _main(self) -> None:
        try:
            self._wait()
            with ExitStack() as stack:
                self._ambient.enter(stack)
                self._work()
        except Cancelled:
            pass
        except BaseException as error:
            self._error = error
        finally:
            del self._work  # what it closed over may hold a batch
            self.over = True
            if self._back.locked():  # not after an interrupt, when nobody waits
                self._back.release()
