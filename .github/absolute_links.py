"""Prepare the checkout for a release: PyPI and release notes show only absolute links and images.

    python .github/absolute_links.py https://github.com/OWNER/NAME v1.2.3

Run in the root of the repository, in the checkout that is built. In README.md and CHANGELOG.md it
replaces relative links with links into the repository at that tag. In pyproject.toml it replaces
the placeholder of the repository's address. ``.invalid`` is a reserved domain (RFC 2606), so a
package that was built without this step points to no site.
"""

import re
import sys
from pathlib import Path

PAGES = (Path("README.md"), Path("CHANGELOG.md"))
PLACEHOLDER = "https://repository.invalid"
RELATIVE = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<path>[^)\s]+)\)")


def absolute_links(page: Path, repository: str, tag: str) -> str:
    """The text of ``page`` with absolute links. Raises ValueError if a linked file is missing."""

    def absolute(link: re.Match[str]) -> str:
        target = Path(link["path"].partition("#")[0])
        if not target.exists():
            raise ValueError(f"{page} links to {link['path']}, which does not exist")
        kind = "raw" if link["image"] else "tree" if target.is_dir() else "blob"
        return f"{link['image']}[{link['text']}]({repository}/{kind}/{tag}/{link['path']})"

    return RELATIVE.sub(absolute, page.read_text("utf-8"))


def project_urls(project: Path, repository: str) -> str:
    """``project`` with the repository's address. Raises ValueError if it has no placeholder."""
    text = project.read_text("utf-8")
    if PLACEHOLDER not in text:
        raise ValueError(f"{project} does not contain {PLACEHOLDER}")
    return text.replace(PLACEHOLDER, repository)


def main(repository: str, tag: str) -> None:
    if not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository!r} is not the address of a repository")
    project = Path("pyproject.toml")
    new = {page: absolute_links(page, repository, tag) for page in PAGES}
    new[project] = project_urls(project, repository)
    for path, text in new.items():  # all or none
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit(f"not released: {error}")
