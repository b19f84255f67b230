"""Print the section of CHANGELOG.md for a version; fail if the version cannot be released.

    python .github/release_notes.py 0.1.0

Run in the root of the repository. The version must be the one in pyproject.toml. CHANGELOG.md must
have a section for it, with a date and at least one change, and [Unreleased] must be empty.
"""

import re
import sys
import tomllib
from datetime import date
from pathlib import Path

SECTION = re.compile(
    r"^## \[(?P<name>.+?)\](?: - (?P<date>\S+))?\n(?P<text>.*?)(?=^## |\Z)",
    re.MULTILINE | re.DOTALL,
)


def notes(version: str, changelog: str, project: str) -> str:
    """The section of ``version``. Raises ValueError if it cannot be released."""
    packaged = tomllib.loads(project)["project"]["version"]
    if version != packaged:
        raise ValueError(f"pyproject.toml says version {packaged}, not {version}")
    sections = {found["name"]: found for found in SECTION.finditer(changelog)}
    if version not in sections:
        raise ValueError(f"CHANGELOG.md has no section [{version}]")
    if sections["Unreleased"]["text"].strip():
        raise ValueError("[Unreleased] in CHANGELOG.md is not empty: move its entries")
    text = sections[version]["text"].strip()
    if not re.search(r"^- ", text, re.MULTILINE):
        raise ValueError(f"[{version}] in CHANGELOG.md names no change")
    try:
        date.fromisoformat(sections[version]["date"] or "")
    except ValueError:
        raise ValueError(
            f"[{version}] in CHANGELOG.md needs the day of the release: - YYYY-MM-DD"
        ) from None
    return text


if __name__ == "__main__":
    try:
        print(
            notes(
                sys.argv[1],
                Path("CHANGELOG.md").read_text("utf-8"),
                Path("pyproject.toml").read_text("utf-8"),
            )
        )
    except ValueError as error:
        sys.exit(f"not released: {error}")
