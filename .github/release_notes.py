"""Print what CHANGELOG.md says of a version; refuse to release what does not fit together.

    python .github/release_notes.py 0.1.0

Run in the root of the repository. The version has to be the one in pyproject.toml, to have a dated
section with something in it, and nothing may wait in [Unreleased].
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
    """The section of ``version``. Raises ValueError when it cannot be released."""
    packaged = tomllib.loads(project)["project"]["version"]
    if version != packaged:
        raise ValueError(f"pyproject.toml says version {packaged}, not {version}")
    sections = {found["name"]: found for found in SECTION.finditer(changelog)}
    if version not in sections:
        raise ValueError(f"CHANGELOG.md has no section [{version}]")
    if sections["Unreleased"]["text"].strip():
        raise ValueError("what is in [Unreleased] belongs to this version, or to none yet")
    text = sections[version]["text"].strip()
    if not re.search(r"^- ", text, re.MULTILINE):
        raise ValueError(f"[{version}] names no change")
    try:
        date.fromisoformat(sections[version]["date"] or "")
    except ValueError:
        raise ValueError(f"[{version}] needs the day of the release: - YYYY-MM-DD") from None
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
