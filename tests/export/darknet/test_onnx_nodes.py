"""Every layer and head gives what Darknet's formulas give, by a NumPy rendering that shares nothing with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgedet.export.darknet.fork import ForkName
from edgedet.export.darknet.source import export, open_darknet
from edgedet.export.families.base import GraphOptions
from tests.export import darknet_reference as reference

NET = "[net]\nheight={side}\nwidth={side}\nchannels=3\n"
HEAD = "[convolutional]\nfilters=21\nsize=1\nactivation={activation}\n"
YOLO = HEAD.format(activation="linear") + "[yolo]\nclasses=2\nnum=3\nmask=0,1,2\nanchors=4,6, 9,5, 12,14\n"
CONV = "[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize=3\nstride={stride}\npad=1\nactivation=leaky\n"


def compare(folder: Path, text: str, *, alexeyab: bool = False, tolerance: float = 2e-5) -> None:
    """Export ``text`` with random weights, and hold all candidates to the reference."""
    cfg = folder / "net.cfg"
    cfg.write_text(text)
    arrays = reference.write(cfg.with_suffix(".weights"), text)
    side = int(reference.sections_of(text)[0][1]["height"])
    pixels = np.random.default_rng(1).integers(0, 256, (1, side, side, 3)).astype(np.float32)
    boxes, scores = candidates(cfg, pixels, alexeyab=alexeyab)
    image = pixels[0, ..., ::-1].transpose(2, 0, 1) / 255.0
    expected = reference.run(text, arrays, image, alexeyab=alexeyab)
    # The reference goes cell by cell; a head of ours all cells of an anchor. v3 and v2 are alike in both.
    np.testing.assert_allclose(boxes[0], expected.boxes, rtol=tolerance, atol=tolerance * pixels.shape[2])
    np.testing.assert_allclose(scores[0], expected.scores, rtol=tolerance, atol=tolerance)


def candidates(cfg: Path, pixels: np.ndarray, *, alexeyab: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [1, A, 4] and scores [1, A, C] of the graph for BGR ``pixels`` [1, H, W, 3]."""
    fork: ForkName = "alexeyab" if alexeyab else "pjreddie"
    source = open_darknet(cfg, weights=None, imgsz=None, fork=fork, resize=None)
    model = export(source, GraphOptions(nms="runtime")).model
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    boxes, scores = session.run(["boxes", "scores"], {"images": pixels})
    return boxes, scores


def net(*layers: str, side: int = 8) -> str:
    return NET.format(side=side) + "".join(layers)


LAYERS = {
    "maxpool 2/2": "[maxpool]\nsize=2\nstride=2\n",
    "maxpool 2/1": "[maxpool]\nsize=2\nstride=1\n",
    "maxpool 5/1": "[maxpool]\nsize=5\nstride=1\n",
    "maxpool 3/2 padding 1": "[maxpool]\nsize=3\nstride=2\npadding=1\n",
    "maxpool 2/2 without padding": "[maxpool]\nsize=2\nstride=2\npadding=0\n",
    "upsample": "[upsample]\nstride=2\n",
    "upsample with scale": "[upsample]\nstride=2\nscale=0.5\n",
    "reorg": "[reorg]\nstride=2\n",
    "reorg3d": "[reorg3d]\nstride=2\n",
    "route": CONV.format(filters=4, stride=1) + "[route]\nlayers=-1,0\n",
    "route of half": "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n",
    "shortcut": CONV.format(filters=8, stride=1) + "[shortcut]\nfrom=-2\nactivation=linear\n",
    "shortcut of fewer": CONV.format(filters=12, stride=1) + "[shortcut]\nfrom=-2\nactivation=relu\n",
    "shortcut of more": CONV.format(filters=4, stride=1) + "[shortcut]\nfrom=0\n",
    "shortcut of several": CONV.format(filters=8, stride=1) * 2 + "[shortcut]\nfrom=-2,-3\n",
    "groups": "[convolutional]\nfilters=6\nsize=3\nstride=2\npad=1\ngroups=2\nactivation=leaky\n",
    "local": "[local]\nfilters=5\nsize=3\nstride=1\npad=1\nactivation=leaky\n",
    "local without border": "[local]\nfilters=5\nsize=3\nstride=2\npad=0\nactivation=linear\n",
    "dropout": "[dropout]\nprobability=.5\n",
    "activation": "[activation]\nactivation=relu\n",
    "squeeze": "[avgpool]\n[convolutional]\nfilters=8\nsize=1\nactivation=logistic\n[scale_channels]\nfrom=0\n",
    "sam": "[convolutional]\nfilters=8\nsize=1\nactivation=logistic\n[sam]\nfrom=0\n",
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, tmp_path: Path) -> None:
    text = net(CONV.format(filters=8, stride=1), LAYERS[name], YOLO)
    compare(tmp_path, text, alexeyab=name in ("reorg3d", "route of half", "squeeze", "sam", "shortcut of several"))


@pytest.mark.parametrize("name", ["relu6", "mish", "swish", "relu", "ramp", "elu", "selu", "relie", "loggy", "tanh",
                                  "hardtan", "lhtan", "plse", "logistic"])  # fmt: skip
def test_activations(name: str, tmp_path: Path) -> None:
    layer = f"[convolutional]\nfilters=8\nsize=1\nactivation={name}\n"
    compare(tmp_path, net(layer, YOLO, side=4), alexeyab=name in ("relu6", "mish", "swish"))


def test_the_programs_add_their_epsilons_in_different_places(tmp_path: Path) -> None:
    text = net(CONV.format(filters=8, stride=1), YOLO, side=4)
    for alexeyab in (False, True):
        compare(tmp_path, text, alexeyab=alexeyab, tolerance=2e-6)


def test_strides_of_rows_and_columns(tmp_path: Path) -> None:
    layer = "[convolutional]\nfilters=8\nsize=3\nstride_x=2\nstride_y=1\npad=1\nactivation=linear\n"
    cfg = tmp_path / "net.cfg"
    cfg.write_text(net(layer, YOLO))
    arrays = [[np.zeros(8), np.zeros((8, 3, 3, 3))], [np.zeros(21), np.zeros((21, 8, 1, 1))]]
    content = np.array([0, 2, 5, 0, 0], "<i4").tobytes()
    content += b"".join(array.astype("<f4").tobytes() for own in arrays for array in own)
    cfg.with_suffix(".weights").write_bytes(content)
    boxes, _ = candidates(cfg, np.zeros((1, 8, 8, 3), np.float32), alexeyab=True)
    # 8 rows of 1 pixel, 4 columns of 2: centres of cells.
    centres = (boxes[0, :32, :2] + boxes[0, :32, 2:]) / 2
    expected = [[2 * column + 1, row + 0.5] for row in range(8) for column in range(4)]
    np.testing.assert_allclose(centres, expected, atol=1e-5)


HEADS = {
    "v3 with a mask": HEAD.format(activation="linear").replace("21", "14")
    + "[yolo]\nclasses=2\nnum=3\nmask=0,2\nanchors=4,6, 9,5, 12,14\n",
    "v4": HEAD.format(activation="linear")
    + "[yolo]\nclasses=2\nnum=3\nmask=0,1,2\nanchors=4,6, 9,5, 12,14\nscale_x_y=1.2\n",
    "new_coords": HEAD.format(activation="logistic")
    + "[yolo]\nclasses=2\nnum=3\nmask=0,1,2\nanchors=4,6, 9,5, 12,14\nscale_x_y=2.0\nnew_coords=1\n",
    "v2": HEAD.format(activation="linear")
    + "[region]\nclasses=2\nnum=3\ncoords=4\nsoftmax=1\nanchors=1,2,.5,.4,3,1\n",
    "v2 without softmax": HEAD.format(activation="linear") + "[region]\nclasses=2\nnum=3\nanchors=1,2,.5,.4,3,1\n",
    "v1": "[connected]\noutput=108\nactivation=linear\n"
    "[detection]\nclasses=2\ncoords=4\nside=3\nnum=2\nsoftmax=0\nsqrt=1\n",
    "v1 with softmax": "[connected]\noutput=108\nactivation=linear\nbatch_normalize=1\n"
    "[detection]\nclasses=2\ncoords=4\nside=3\nnum=2\nsoftmax=1\nsqrt=0\n",
    "v1 without a connected layer": "[convolutional]\nfilters=27\nsize=3\nstride=4\npad=1\nactivation=linear\n"
    "[detection]\nclasses=2\ncoords=4\nside=2\nnum=5\nsqrt=1\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str, tmp_path: Path) -> None:
    text = net(CONV.format(filters=6, stride=1), HEADS[name])
    compare(tmp_path, text, alexeyab=name in ("v4", "new_coords"))


def test_heads_of_several_sizes(tmp_path: Path) -> None:
    route = "[route]\nlayers=0\n"
    compare(tmp_path, net(CONV.format(filters=6, stride=2), CONV.format(filters=6, stride=2), YOLO, route, YOLO))


def test_a_crop_in_front_of_the_first_convolution(tmp_path: Path) -> None:
    for noadjust in (0, 1):
        crop = f"[crop]\ncrop_height=6\ncrop_width=4\nflip=1\nnoadjust={noadjust}\n"
        compare(tmp_path, net(crop, CONV.format(filters=6, stride=1), YOLO))


def test_weights_of_connected_layers_are_transposed_by_old_versions(tmp_path: Path) -> None:
    text = net(CONV.format(filters=6, stride=1), HEADS["v1"])
    cfg = tmp_path / "net.cfg"
    cfg.write_text(text)
    reference.write(cfg.with_suffix(".weights"), text)
    pixels = np.full((1, 8, 8, 3), 50, np.float32)
    _, expected = candidates(cfg, pixels)
    content = cfg.with_suffix(".weights").read_bytes()[20:]
    numbers = np.frombuffer(content, "<f4").copy()
    # The last layer: 108 biases, then 108 rows of 6 x 8 x 8.
    numbers[-108 * 384 :] = numbers[-108 * 384 :].reshape(108, 384).T.reshape(-1)
    for header in (16, 20):
        start = np.array([1001, 1, 0], "<i4").tobytes() + bytes(header - 12)
        cfg.with_suffix(".weights").write_bytes(start + numbers.tobytes())
        np.testing.assert_array_equal(candidates(cfg, pixels)[1], expected)
