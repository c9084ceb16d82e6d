"""The documentation as HTML: ``make docs``. Nothing is fetched while it is read."""

from importlib.metadata import version as version_of

project = "edgedet"
copyright = "the edgedet authors"
release = version = version_of("edgedet")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["conf.py"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
html_theme = "furo"
html_title = f"edgedet {release}"
# Pages that GitHub shows link to files beside docs/, which are not part of the HTML.
suppress_warnings = ["myst.xref_missing"]
nitpicky = False
