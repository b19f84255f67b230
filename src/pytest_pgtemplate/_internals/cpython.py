"""Internals of CPython, tested with 3.11 to 3.14."""

from __future__ import annotations

import ctypes
import threading


def interrupt_thread(thread: threading.Thread) -> None:
    """Raise KeyboardInterrupt in another thread, when it executes its next bytecode.

    Python has no API to stop a thread, and a flag would have to reach every wait of a step. What
    runs in the thread handles Ctrl-C: in the main thread, it meets the same exception.
    """
    assert thread.ident is not None
    interrupt = ctypes.py_object(KeyboardInterrupt)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), interrupt)
