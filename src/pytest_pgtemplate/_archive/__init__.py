"""Templates as one file: for a CI cache, an artefact or an image.

``archive`` saves and loads them; a ``Client`` runs the pg_dump and pg_restore that it takes.
"""

from pytest_pgtemplate._archive.archive import Source, load, save
from pytest_pgtemplate._archive.client import Client

__all__ = ["Client", "Source", "load", "save"]
