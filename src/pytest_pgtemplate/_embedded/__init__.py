"""The private PostgreSQL server, for users who have none.

    binaries -> cluster -> data -> keeper -> hold

Its programs are found, a place is given to it, with a port where one is asked for (``tcp``) and
extensions that the programs lack (``stand_ins``), its data is made, it is stopped when its last
user has gone, and it is held by whoever uses it.
"""

from pytest_pgtemplate._embedded.binaries import find_binaries, find_program
from pytest_pgtemplate._embedded.server_handle import Status, acquire, status, stop, url_of
from pytest_pgtemplate._embedded.stand_ins import fingerprint as stand_ins_fingerprint

__all__ = [
    "Status",
    "acquire",
    "find_binaries",
    "find_program",
    "stand_ins_fingerprint",
    "status",
    "stop",
    "url_of",
]
