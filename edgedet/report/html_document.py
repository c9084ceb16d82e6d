"""One HTML file by itself: style and script inside, nothing fetched, whatever it shows."""

from __future__ import annotations

from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security: the browser itself refuses any request."""


def html_document(title: str, body: str) -> str:
    """The whole file. ``title``: text; ``body``: HTML that follows the heading."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{(FOLDER / "style.css").read_text()}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
<script>{(FOLDER / "script.js").read_text()}</script>
</body>
</html>
"""
