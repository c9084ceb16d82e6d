"""What is left of an address when its passwords are taken out."""

from __future__ import annotations

import pytest

from edgedet.pictures.live.address import name_of
from edgedet.pictures.live.passwords import without_passwords

HIDDEN = {
    "http://h/x?password=SEC&channel=1": "http://h/x?password=***&channel=1",
    "http://h/x?Password=SEC;channel=1": "http://h/x?Password=***;channel=1",
    "http://h/x?PWD=SEC&channel=1": "http://h/x?PWD=***&channel=1",
    "http://h/x?usr=a&pwd=SEC;1": "http://h/x?usr=a&pwd=***",
    "http://h:81/x?loginuse=a&loginpas=SEC&channel=2": "http://h:81/x?loginuse=a&loginpas=***&channel=2",
    "http://h/x?pass=S@EC&c=1&passwd=SEC": "http://h/x?pass=***&c=1&passwd=***",
    "http://h/x?token=SEC&key=SEC&secret=SEC&auth=SEC&channel=3": (
        "http://h/x?token=***&key=***&secret=***&auth=***&channel=3"
    ),
    "http://h/x?access_token=SEC&api-key=SEC&apikey=SEC&n=1": (
        "http://h/x?access_token=***&api-key=***&apikey=***&n=1"
    ),
    "http://h/x?password=SEC with a blank&n=1": "http://h/x?password=***&n=1",
    "rtsp://h:554/user=admin_password=SEC_channel=1_stream=0.sdp?real_stream": (
        "rtsp://h:554/user=admin_password=***_channel=1_stream=0.sdp?real_stream"
    ),
    "rtsp://h:554/user=admin&password=SEC&channel=1": "rtsp://h:554/user=admin&password=***&channel=1",
    "http://h/x?password=SEC_a=SEC&channel=1": "http://h/x?password=***&channel=1",
    "srt://h:9000?streamid=a&passphrase=SEC": "srt://h:9000?streamid=a&passphrase=***",
    "rtsp://admin:S@EC@h/1": "rtsp://admin:***@h/1",
    "rtsp://admin:S/EC@h/1": "rtsp://admin:***@h/1",
    "rtsp://admin:1234/SEC@h/1": "rtsp://admin:***@h/1",
    "rtsp://admin:SE?C@h/1": "rtsp://admin:***@h/1",
    "rtsp://admin:S EC@h/1": "rtsp://admin:***@h/1",
    "rtsp://admin:SEC:EC@h:554/1": "rtsp://admin:***@h:554/1",
    "rtsp://me@mail.org:SEC@h:554/1": "rtsp://me@mail.org:***@h:554/1",
    "rtsp://:SEC@h/1?key=SEC": "rtsp://:***@h/1?key=***",
    "rtsp://admin:SEC@[fe80::1]:554/1": "rtsp://admin:***@[fe80::1]:554/1",
}
SHOWN = (
    "rtsp://h:554/live",
    "rtsp://[fe80::1]:554/live",
    "rtsp://me@h:554/live",
    "http://h:80/x?to=me@mail.org&channel=1",
    "http://h/x?channel=1&keyframes=2",
    "rtsp://h:554",
    "/dev/video0",
)


@pytest.mark.parametrize("address", HIDDEN)
def test_secrets_are_hidden_and_the_rest_is_not(address: str) -> None:
    assert without_passwords(address) == name_of(address) == HIDDEN[address]
    assert without_passwords(HIDDEN[address]) == HIDDEN[address]


@pytest.mark.parametrize("address", SHOWN)
def test_addresses_without_a_secret_stay(address: str) -> None:
    assert without_passwords(address) == address


@pytest.mark.parametrize(
    "word",
    [
        "location=rtsp://admin:S@EC@h/1",
        "user-pw=SEC",
        "user-pw = SEC",
        "user-pw=S&EC_a=EC",
        'user-pw="a SEC"',
        r"user-pw=a\ SEC",
        'location="http://h/x?pwd=S EC&n=1"',
    ],
)
def test_pipelines_keep_all_their_other_words(word: str) -> None:
    name = name_of(f"rtspsrc {word} latency=0 ! decodebin ! video/x-raw,width=64 ! appsink")
    assert "EC" not in name and name.startswith("rtspsrc ") and "***" in name
    assert name.endswith(" latency=0 ! decodebin ! video/x-raw,width=64 ! appsink")
