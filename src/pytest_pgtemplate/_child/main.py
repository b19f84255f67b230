"""Entry point of the child process. The job is a line of JSON on stdin.

A separate process gives the user's code its own event loop, logging and imports. The exit code is:

    0                 success; if the job returns a text, the last line on stderr is {"ran": text}
    1                 an exception, with its traceback on stderr
    REPORTED_ERROR    a PgTemplateError, as a last line of JSON on stderr

It is started by path, because ``sys.path`` is part of the job.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from importlib import import_module
from typing import Any

REPORTED_ERROR = 3


def main() -> None:
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path[:] = job["sys_path"]

    from pytest_pgtemplate.errors import PgTemplateError

    try:
        ran = import_module(job["module"]).run(job)
    except PgTemplateError as error:
        message = json.dumps({"message": error.message, "hint": error.hint})
        print(f"\n{message}", file=sys.stderr, flush=True)  # noqa: T201 - the parent reads it
        os._exit(REPORTED_ERROR)
    if ran is not None:
        print("\n" + json.dumps({"ran": ran}), file=sys.stderr, flush=True)  # noqa: T201


def _end_with_parent() -> None:
    sys.stdin.read()  # the parent keeps the pipe open; its end means that the parent has died
    os._exit(1)


if __name__ == "__main__":
    main()
