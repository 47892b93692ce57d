"""Draws the pictures of the guide: `pictures/guide/NAME.svg` from the block `NAME.yaml` of the page. A test compares.

`.venv/bin/python tools/pictures.py` after a change of such a block, or of the drawing.
"""

from __future__ import annotations

import re
from pathlib import Path

from perdure.definition import picture_of, read_definition
from perdure.runtime.plans import catalog_of, works_for

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = "pictures/guide"

_PICTURE = re.compile(rf"\]\(\.\./{FOLDER}/([a-z-]+)\.svg\)")
_BLOCK = re.compile(r'^```yaml check title="([a-z-]+)\.yaml"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """All pictures of the guide, by their place under `docs/`."""
    catalog = catalog_of(works_for(""))
    found: dict[str, str] = {}
    for page in sorted((DOCS / "guide").glob("*.md")):
        text = page.read_text()
        blocks = dict(_BLOCK.findall(text))
        for name in _PICTURE.findall(text):
            place = f"{FOLDER}/{name}.svg"
            assert place not in found, f"{page.name}: another page has a picture {name}.svg"
            assert name in blocks, f"{page.name}: there is no block {name}.yaml for its picture"
            found[place] = picture_of(read_definition(blocks[name], catalog=catalog).document, catalog, with_heading=False)
    return found


def main() -> None:
    folder = DOCS / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for name, text in files().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
