"""Internals of CPython, tested with 3.11 to 3.14."""

from __future__ import annotations

import ctypes
import threading


def interrupt_thread(thread: threading.Thread) -> None:
    """Raise KeyboardInterrupt in another thread, when it executes its next bytecode.

    Python has no API to stop a thread, and a flag would have to reach every wait of a step. The
    code in the thread handles this exception, because Ctrl-C raises it in the main thread.
    """
    assert thread.ident is not None
    interrupt = ctypes.py_object(KeyboardInterrupt)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), interrupt)
