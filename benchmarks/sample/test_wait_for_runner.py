"""Each worker writes to its database, connects to the runner, and waits until that closes."""

from __future__ import annotations

import os
import socket

import pytest
from models import TABLE
from sqlalchemy import insert
from sqlalchemy.orm import Session


@pytest.mark.parametrize("_number", range(int(os.environ["BENCH_TESTS"])))
def test_wait_for_runner(_number: int, session: Session) -> None:
    for table in TABLE:
        session.execute(insert(table).values(name="some text"))
    session.commit()
    with socket.socket(socket.AF_UNIX) as runner:
        runner.connect(os.environ["BENCH_RUNNER"])
        runner.recv(1)  # until the runner closes it
