"""Prepare README.md and pyproject.toml for PyPI, which shows only absolute links and images.

    python .github/absolute_links.py https://github.com/OWNER/NAME v1.2.3

Run in the root of the repository, in the checkout that is built. In README.md it replaces relative
links with links into the repository at that tag. In pyproject.toml it replaces the placeholder of
the repository's address. ``.invalid`` is a reserved domain (RFC 2606), so that a package that was
built without this step points to nobody.
"""

import re
import sys
from pathlib import Path

PLACEHOLDER = "https://repository.invalid"
RELATIVE = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<path>[^)\s]+)\)")


def absolute_links(text: str, root: Path, repository: str, tag: str) -> str:
    """``text`` with absolute links. Raises ValueError if a linked file is not in ``root``."""

    def absolute(link: re.Match[str]) -> str:
        target = root / link["path"].partition("#")[0]
        if not target.exists():
            raise ValueError(f"README.md links to {link['path']}, which does not exist")
        kind = "raw" if link["image"] else "tree" if target.is_dir() else "blob"
        return f"{link['image']}[{link['text']}]({repository}/{kind}/{tag}/{link['path']})"

    return RELATIVE.sub(absolute, text)


def project_urls(text: str, repository: str) -> str:
    """``text`` with the repository's address. Raises ValueError if it has no placeholder."""
    if PLACEHOLDER not in text:
        raise ValueError(f"pyproject.toml does not contain {PLACEHOLDER}")
    return text.replace(PLACEHOLDER, repository)


def main(repository: str, tag: str) -> None:
    if not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository!r} is not the address of a repository")
    readme, project = Path("README.md"), Path("pyproject.toml")
    new_readme = absolute_links(readme.read_text("utf-8"), Path(), repository, tag)
    new_project = project_urls(project.read_text("utf-8"), repository)
    readme.write_text(new_readme, "utf-8")
    project.write_text(new_project, "utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit(f"not released: {error}")
