"""The documentation as HTML: ``make docs``. Nothing is fetched while it is read."""

import posixpath
import re
import shutil
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

project = "edgedet"
copyright = "the edgedet authors"
release = version = version_of("edgedet")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["conf.py"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# Attributes as one list: their types are in the signature already.
napoleon_use_ivar = True
napoleon_attr_annotations = False
# Longer ones have a line per parameter.
python_maximum_signature_line_length = 300
html_theme = "furo"
html_title = f"edgedet {release}"
nitpicky = False
ROOT = Path(__file__).resolve().parents[1]
BESIDE = "_repository"
"""Folder of the HTML with copies of what pages link to outside docs/, as GitHub shows it there."""


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-signature", shorten_types)
    app.connect("autodoc-skip-member", skip_fields)
    app.add_post_transform(LinksBeside)


class LinksBeside(SphinxPostTransform):
    """Links to pages of the repository that lie outside docs/ lead to copies of them."""

    default_priority = 8  # MyST's own resolver, at 9, knows pages of docs/ alone

    def run(self, **options: Any) -> None:
        """Change the links of one page."""
        for node in list(self.document.findall(addnodes.pending_xref)):
            target = str(node.get("reftarget", ""))
            wanted = Path(f"{(Path(self.env.srcdir) / target).resolve()}.md")
            if node.get("refdomain") != "doc" or target in self.env.all_docs or not wanted.is_file():
                continue
            copy = Path(self.app.outdir) / BESIDE / wanted.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(wanted, copy)
            here = posixpath.dirname(self.app.builder.get_target_uri(self.env.docname)) or "."
            address = posixpath.relpath(copy.relative_to(self.app.outdir).as_posix(), here)
            node.replace_self(nodes.reference("", "", *node.children, internal=True, refuri=address))


def skip_fields(app: Any, what: str, name: str, thing: Any, *rest: Any) -> bool | None:
    """A named tuple's fields are in the list of attributes already; None leaves the choice to Sphinx."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def shorten_types(app: Any, what: str, name: str, thing: Any, options: Any, *texts: str | None) -> Any:
    """Types without the modules in front, arrays as ``NDArray[float32]``."""
    return tuple(None if text is None else _short(text) for text in texts)


def _short(text: str) -> str:
    text = re.sub(r"~?\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", text.replace("~", ""))
    return re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"NDArray[\1]", text)
