"""One module for each figure: what it measures, and with which numbers."""
