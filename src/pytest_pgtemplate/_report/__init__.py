"""A run, told afterwards: as a page with a timeline, as Trace Events, in figures.

``recording`` is what is known of the run, ``findings`` what can be learnt from it; ``page``,
``trace`` and ``figures`` write it down.
"""

from pytest_pgtemplate._report.figures import figures
from pytest_pgtemplate._report.page import write_page
from pytest_pgtemplate._report.recording import COLLECT, START, Event, Recording, Test
from pytest_pgtemplate._report.trace import write_trace

__all__ = ["COLLECT", "START", "Event", "Recording", "Test", "figures", "write_page", "write_trace"]
