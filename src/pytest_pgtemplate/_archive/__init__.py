"""Save templates to one file, and load them from it: for CI caches, artifacts and images.

``archive`` reads and writes the file, and ``client`` runs pg_dump and pg_restore.
"""

from pytest_pgtemplate._archive.archive import Source, check_file, load, save
from pytest_pgtemplate._archive.client import Client

__all__ = ["Client", "Source", "check_file", "load", "save"]
