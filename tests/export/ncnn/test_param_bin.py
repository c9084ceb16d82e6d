"""The text and the bytes ncnn reads: its numbers of at most 15 characters, its lists, one reader for a blob."""

from __future__ import annotations

import numpy as np

from edgedet.export.ncnn.param_bin import Layer, written


def test_the_text_and_the_bytes() -> None:
    layers = [
        Layer("Input", "in", [], ["images"], {0: 4}),
        Layer("Convolution", "c", ["images"], ["a"], {0: 1, 10: (0.5, -2.0), 9: 3}, np.ones(2), (np.full(1, 2.0),)),
        Layer("MemoryData", "m", [], ["k"], {0: 1}, plain=(np.full(1, 3.0),)),
        Layer("Crop", "crop", ["a"], ["b"], {9: (1, 2)}),
        Layer("BinaryOp", "sum", ["a", "k"], ["boxes"], {0: 0}),
    ]
    text, content = written(layers)
    assert text.splitlines() == [
        "7767517",
        "6 7",
        "Input in 0 1 images 0=4",
        "Convolution c 1 1 images a 0=1 9=3 -23310=2,5.00000000e-01,-2.00000000e+00",
        "Split split_a 1 2 a a_1 a_2",
        "MemoryData m 0 1 k 0=1",
        "Crop crop 1 1 a_1 b -23309=2,1,2",
        "BinaryOp sum 2 1 a_2 k boxes 0=0",
    ]
    assert content == bytes(4) + np.array([1, 1, 2, 3], "<f4").tobytes()


def test_every_float32_comes_back_from_fifteen_characters() -> None:
    """ncnn reads no more of a number, and adds up its digits in 32 bits."""
    numbers = np.random.default_rng(0).integers(0, 2**32, 5000, np.uint32).view(np.float32)
    numbers = numbers[np.isfinite(numbers) & (np.abs(numbers) > 1e-30)]
    text, _ = written([Layer("Clip", "c", [], [], {0: tuple(float(number) for number in numbers)})])
    words = text.split("=")[1].split(",")[1:]
    assert max(map(len, (word.strip() for word in words))) <= 15
    np.testing.assert_array_equal(np.array(words, np.float64).astype(np.float32), numbers)
    assert all(int(word.strip().lstrip("-").partition(".")[2][:8]) < 2**32 for word in words)
