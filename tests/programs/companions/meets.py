import os
import signal
from pathlib import Path


def test_meets(pg_database, pg_sync_session):
    name = os.environ["TOX_ENV_NAME"]
    Path(f"{name}.database").write_text(pg_database.name)
    signal.alarm(60)  # if it does not come
    open("meeting", "r" if name == "one" else "w").close()
    signal.alarm(0)
