"""What a report advises where something had to be assumed."""

from __future__ import annotations

import pytest

from edgedet.export.training.assumptions import Assumption, assumption_note

SIZE = Assumption("mean/std", "ImageNet's", "image_mean, image_std")
SKIPS = Assumption("skips", "added", "--arch")


@pytest.mark.parametrize(("assumed", "stated"), [((SIZE,), True), ((SKIPS,), False), ((SKIPS, SIZE), True)])
def test_detector_is_named_where_it_can_state_something(assumed: tuple[Assumption, ...], stated: bool) -> None:
    assert ("--detector" in assumption_note(assumed)) is stated
