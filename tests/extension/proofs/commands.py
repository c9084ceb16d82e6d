"""Commands of the tree that a proof runs in."""

from __future__ import annotations

import contextlib
import io

from edgedet.cli import main


def said(*arguments: object) -> str:
    """What a command prints on either stream; it must end well."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        code = main([str(argument) for argument in arguments])
    assert code == 0, f"edgedet {' '.join(map(str, arguments))} ended with {code}: {text.getvalue()}"
    return text.getvalue()
