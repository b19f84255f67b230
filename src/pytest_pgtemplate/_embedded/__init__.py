"""The private PostgreSQL server, for users who have none.

    binaries -> cluster -> keeper -> hold

Its programs are found, its data is made, it is stopped when its last user has gone, and it is held
by whoever uses it.
"""

from pytest_pgtemplate._embedded.binaries import find_binaries
from pytest_pgtemplate._embedded.hold import acquire, status, stop, url_of

__all__ = ["acquire", "find_binaries", "status", "stop", "url_of"]
