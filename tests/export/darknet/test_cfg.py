"""What a ``.cfg`` may look like, and what is refused, with its layer and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.errors import CheckpointError
from edgedet.export.darknet.cfg import read_cfg
from edgedet.export.darknet.cfg_layers import Reader
from edgedet.export.darknet.layer_records import Layer
from edgedet.export.darknet.options import ONLY, TRAINING, USED

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"


def read(folder: Path, text: str | bytes) -> list[Layer]:
    cfg = folder / "net.cfg"
    cfg.write_bytes(text if isinstance(text, bytes) else text.encode())
    _, sections = read_cfg(cfg)
    reader = Reader((3, 32, 32))
    for section in sections:
        reader.read(section)
    return reader.layers


def refuse(folder: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)


def test_the_same_network_in_other_hands(tmp_path: Path) -> None:
    plain = read(tmp_path, NET + CONV)
    others = [
        (NET + CONV).replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + (NET + CONV).encode(),
        ("# first\n\n" + NET + "; second\n" + CONV).replace("=", " = ").encode(),
        (NET + CONV.replace("filters=4", "\tfilters = 4 # of them")).encode(),
        NET.encode() + "# сверточный".encode("cp1251") + b"\n" + CONV.encode(),
        (NET + CONV.replace("[convolutional]", "[conv]")).encode(),
        # Of two, Darknet takes the first.
        (NET + CONV + "filters=9\n").encode(),
    ]
    for other in others:
        found = read(tmp_path, other)
        assert [layer.kind for layer in found] == [layer.kind for layer in plain]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with nothing, expected .net. as in a Darknet .cfg"),
        (CONV, "begins with .convolutional., expected .net."),
        (NET, "has no layers after .net."),
        ("width=3\n" + NET, "line 1 is 'width=3', expected .net., with which"),
        (NET + CONV + "filters\n", "line 10 is 'filters', expected NAME=VALUE"),
        (NET + "[conv olutional\n", "line 5 is '.conv olutional', expected .layer."),
        (b"PK\x03\x04\0\0", "is not a text"),
        ((NET + CONV).encode("utf-16"), "is not a text"),
    ],
)
def test_texts_that_are_no_cfg(tmp_path: Path, text: str | bytes, message: str) -> None:
    refuse(tmp_path, text, message)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    refuse(tmp_path, b"#" * 5_000_000, "has 5000000 bytes, .* weights with --weights")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "[gru]\noutput=3\n",
            "layer 1, .gru. in line 10: edgedet does not know this layer; it knows .convolutional.",
        ),
        ("[Gaussian_yolo]\n", "does not know this layer"),
        (
            CONV + "fancy=1\n",
            "layer 1, .convolutional. in line 10: has the option fancy=1, which edgedet does not know",
        ),
        (CONV + "xnor=1\n", "has xnor=1, which edgedet does not do; it does xnor=0"),
        (CONV + "antialiasing=1\n", "has antialiasing=1"),
        (CONV + "dontload=1\n", "has dontload=1"),
        (CONV.replace("leaky", "hard_mish"), "has activation=hard_mish; edgedet knows linear, leaky"),
        (CONV.replace("leaky", "leeky"), "has activation=leeky"),
        (CONV.replace("=4", "=0"), "has filters=0, expected 1 to"),
        (CONV.replace("=4", "=-4"), "has filters=-4, expected 1 to"),
        (CONV.replace("=4", "=99999999"), "has filters=99999999, expected 1 to"),
        (CONV.replace("=4", "=" + "9" * 5000), "expected a whole number"),
        (CONV.replace("=4", "=four"), "has filters=four, expected a whole number"),
        (CONV.replace("size=3", "size=99").replace("pad=1", "pad=0"), "the picture is too small"),
        (CONV + "groups=3\n", "groups=3, which divides 4 channels and 4 filters not"),
        (
            "[convolutional]\nsize=5\npadding=1\ndilation=2\nactivation=linear\n",
            "has dilation=2, which does not go",
        ),
        ("[maxpool]\nsize=2\nstride=2\npadding=9\n", "padding=9, so that windows of 2 would lie outside"),
        ("[maxpool]\nsize=2\nmaxpool_depth=1\n", "has maxpool_depth=1"),
        ("[local]\nsize=5\npad=1\nactivation=linear\n", "contradict each other in Darknet too"),
        ("[route]\nlayers=7\n", "reads layer 7, but there are layers 0 to 0"),
        ("[route]\nlayers=-5\n", "reads layer -4, but"),
        ("[route]\n", "has no layers=; expected numbers of layers"),
        ("[route]\nlayers=0\ngroups=2\ngroup_id=2\n", "groups=2 and group_id=2, which do not fit"),
        ("[maxpool]\nsize=2\nstride=2\n[route]\nlayers=0,-1\n", "joins layer 0, 32x32 .* and layer 1, 16x16"),
        ("[maxpool]\nsize=2\nstride=2\n[shortcut]\nfrom=0\n", "adds layer 0, 32x32 .* to 16x16"),
        ("[shortcut]\nfrom=0\nalpha=.5\n", "has alpha=.5, which edgedet does not do; it does alpha=1"),
        ("[shortcut]\nfrom=0\nweights_type=per_channel\n", "has weights_type=per_channel"),
        ("[reorg]\nstride=3\n", "has stride=3, which does not divide 32x32 of 4 channels"),
        ("[reorg]\nstride=2\nreverse=1\n", "has reverse=1"),
        ("[upsample]\nstride=-2\n", "has stride=-2, expected 1"),
        ("[upsample]\nscale=nan\n", "has scale=nan, expected a number"),
        ("[crop]\ncrop_height=64\ncrop_width=32\n", "cuts 64x32 out of 32x32"),
        ("[scale_channels]\nfrom=0\n", "multiplies layer 0, 32x32 of 4 channels, by 32x32 .* expected 1x1"),
        ("[yolo]\nclasses=2\nnum=1\nanchors=3,4\n", "reads 4 channels, expected 7: 1 anchors of 5 . 2 numbers"),
        ("[yolo]\nclasses=2\nnum=1\n", "has 0 numbers in anchors=, expected 2"),
        ("[yolo]\nclasses=2\nnum=1\nanchors=3,4\nmask=1\n", "has mask=1, expected numbers of its 1 anchors"),
        ("[region]\nclasses=2\nnum=1\nanchors=3,4\ntree=9k.tree\n", "has a tree of classes|has the option tree"),
        ("[region]\nclasses=2\nnum=1\nanchors=3,4\nbackground=1\n", "has background=1"),
        ("[region]\nclasses=2\nnum=1\nanchors=3,4\ncoords=8\n", "has coords=8"),
        ("[detection]\nclasses=2\nnum=1\nside=4\n", "has no coords=4"),
        ("[detection]\nclasses=2\nnum=1\nside=4\ncoords=4\n", "reads 4096 numbers, expected 112: 4x4 cells"),
    ],
)
def test_refused_with_layer_and_line(tmp_path: Path, section: str, message: str) -> None:
    refuse(tmp_path, NET + CONV + section, message)


def test_boxes_are_no_features(tmp_path: Path) -> None:
    head = "[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nclasses=2\nnum=1\nanchors=3,4\n"
    refuse(tmp_path, NET + head + CONV, "layer 2, .convolutional. .*: reads layer 1, .yolo., whose output is boxes")


def test_options_of_training_change_nothing(tmp_path: Path) -> None:
    plain = read(tmp_path, NET + CONV)
    more = "stopbackward=1\nassisted_excitation=4000\nlearning_rate=.5\ntrain_only_bn=1\n"
    assert read(tmp_path, NET + CONV + more)[0].kind == plain[0].kind


def test_every_known_section_says_of_all_its_options_what_they_are() -> None:
    assert set(TRAINING) == set(USED) and set(ONLY) <= set(USED)
    for kind, used in USED.items():
        assert not set(used.split()) & (set(TRAINING[kind].split()) | set(ONLY.get(kind, {})))
