"""``python -m edgedet`` is the ``edgedet`` command."""

from __future__ import annotations

import sys

from edgedet.cli import main

if __name__ == "__main__":
    sys.exit(main())
