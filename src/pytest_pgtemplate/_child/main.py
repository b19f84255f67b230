"""Entry point of the child process. The job is a line of JSON on stdin.

A separate process gives the user's code its own event loop, logging and imports. The exit code is:

    FINISHED          success; if the job returns a text, the last line on stderr is {"ran": text}
    0                 the user's code ended the process, for example by ``os._exit(0)``
    1                 an exception, with its traceback on stderr, and {"hint": text} as last line
    REPORTED_ERROR    a PgTemplateError, as a last line of JSON on stderr
    WRONG_DRIVER      env.py needs a driver of the other kind, sync or async

It is started by path, because ``sys.path`` is part of the job.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from importlib import import_module
from typing import Any, NoReturn

REPORTED_ERROR = 3
WRONG_DRIVER = 4
FINISHED = 5


def main() -> None:
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path[:] = job["sys_path"]

    from pytest_pgtemplate._child import hints
    from pytest_pgtemplate.errors import PgTemplateError

    try:
        ran = import_module(job["module"]).run(job)
    except PgTemplateError as error:
        _end(REPORTED_ERROR, message=error.message, hint=error.hint)
    except hints.WrongDriverError as error:
        traceback.print_exception(error.__cause__)
        _end(WRONG_DRIVER, hint=hints.OTHER_URL)
    except hints.HintedError as error:
        traceback.print_exception(error.__cause__)
        _end(1, hint=error.hint)
    except Exception as error:
        traceback.print_exception(error)
        _end(1, hint=hints.statement_hint(error))
    if ran is not None:
        _report(ran=ran)
    sys.exit(FINISHED)


def _end(code: int, **last_words: str) -> NoReturn:
    """End at once, so that ``last_words`` is the last line of the output."""
    if last_words:
        _report(**last_words)
    sys.stdout.flush()
    os._exit(code)


def _report(**last_words: str) -> None:
    """Print a line that the parent reads."""
    print("\n" + json.dumps(last_words), file=sys.stderr, flush=True)  # noqa: T201


def _end_with_parent() -> None:
    sys.stdin.read()  # the parent keeps the pipe open; its end means that the parent has died
    os._exit(1)


if __name__ == "__main__":
    main()
