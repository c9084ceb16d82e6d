"""The documentation as HTML: ``make docs``. Nothing is fetched while it is read."""

import re
from importlib.metadata import version as version_of
from typing import Any

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
# Pages that GitHub shows link to files beside docs/, which are not part of the HTML.
suppress_warnings = ["myst.xref_missing"]
nitpicky = False


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-signature", shorten_types)
    app.connect("autodoc-skip-member", skip_fields)


def skip_fields(app: Any, what: str, name: str, thing: Any, *rest: Any) -> bool | None:
    """A named tuple's fields are in the list of attributes already; None leaves the choice to Sphinx."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def shorten_types(app: Any, what: str, name: str, thing: Any, options: Any, *texts: str | None) -> Any:
    """Types without the modules in front, arrays as ``NDArray[float32]``."""
    return tuple(None if text is None else _short(text) for text in texts)


def _short(text: str) -> str:
    text = re.sub(r"~?\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", text.replace("~", ""))
    return re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"NDArray[\1]", text)
