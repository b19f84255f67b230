"""What the site does to a page: it has no files of the repository to link to, only their names."""

import re

BEYOND = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    return BEYOND.sub(r"\1", markdown)
