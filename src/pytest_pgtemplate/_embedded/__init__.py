"""The private PostgreSQL server, for users who have none.

    binaries -> cluster -> data -> keeper -> hold

Its programs are found, a place is given to it, with a port where one is asked for (``tcp``), its
data is made, it is stopped when its last user has gone, and it is held by whoever uses it.
"""

from pytest_pgtemplate._embedded.binaries import find_binaries, find_program
from pytest_pgtemplate._embedded.hold import Status, acquire, status, stop, url_of

__all__ = ["Status", "acquire", "find_binaries", "find_program", "status", "stop", "url_of"]
