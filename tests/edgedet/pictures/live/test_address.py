"""How live sources are called."""

from __future__ import annotations

from edgedet.pictures.live.address import names_of


def test_equal_names_get_numbers_in_the_order_of_the_addresses() -> None:
    a, b, c = (f"http://h/x?password={password}&channel=1" for password in "abc")
    name = "http://h/x?password=***&channel=1"
    assert names_of([a, "0", b, c, 0]) == [name, "camera 0", f"{name} (2)", f"{name} (3)", "camera 0 (2)"]


def test_a_number_that_is_taken_is_left_out() -> None:
    assert names_of(["rtsp://h/1", "rtsp://h/1 (2)", "rtsp://h/1"]) == [
        "rtsp://h/1",
        "rtsp://h/1 (2)",
        "rtsp://h/1 (3)",
    ]


def test_cameras_that_differ_in_a_parameter_keep_it() -> None:
    addresses = [f"http://h/x?password=s&channel={channel}" for channel in (1, 3)]
    assert names_of(addresses) == [f"http://h/x?password=***&channel={channel}" for channel in (1, 3)]
