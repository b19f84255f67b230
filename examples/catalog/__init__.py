"""A product catalogue: the sample application that pytest-pgtemplate is shown on."""
