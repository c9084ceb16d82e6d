"""Weights onto the grid: nearest is the nearest, learned keeps the output closer, neither leaves the range."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.calibration import rounding
from edgedet.calibration.quantisation_grid import weight_scales
from edgedet.calibration.rounding import inverse_factor, learned, nearest


def correlated(rows: int, columns: int) -> np.ndarray:
    """Inputs float32 [rows, columns] of few causes, as feature maps are; no two columns equally strong."""
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(rows, 6)) @ rng.normal(size=(6, columns))
    strength = rng.permutation(np.linspace(0.2, 3, columns))
    return ((causes + 0.1 * rng.normal(size=(rows, columns))) * strength).astype(np.float32)


def weights(channels: int, columns: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(channels, columns)).astype(np.float32)


def disturbance(inputs: np.ndarray, matrix: np.ndarray, integers: np.ndarray, scales: np.ndarray) -> float:
    return float(((inputs @ (matrix - integers * scales[:, None]).T) ** 2).mean())


def test_every_weight_goes_to_the_nearest_integer_of_its_channel() -> None:
    matrix = np.array([[0.26, -0.24, 1.0], [10.4, -20.6, 0.0]], np.float32)
    scales = np.array([0.5, 1.0], np.float32)
    assert nearest(matrix, scales).tolist() == [[1, 0, 2], [10, -21, 0]]
    assert nearest(matrix, scales).dtype == np.int8


@pytest.mark.parametrize(("bits", "limit"), [(8, 127), (7, 63)])
def test_weights_stay_symmetric_so_that_minus_128_never_occurs(bits: int, limit: int) -> None:
    matrix = np.array([[-300.0, 300.0, 1.0]], np.float32)
    assert nearest(matrix, np.ones(1, np.float32), bits).tolist() == [[-limit, limit, 1]]
    assert learned(matrix, np.ones(1, np.float32), correlated(64, 3), bits).tolist()[0][:2] == [-limit, limit]


@pytest.mark.parametrize("columns", [24, 150])  # within a block, and over several
@pytest.mark.parametrize("bits", [8, 4])
def test_learned_rounding_disturbs_the_output_much_less_than_nearest(columns: int, bits: int) -> None:
    matrix, inputs = weights(8, columns), correlated(1024, columns)
    scales = weight_scales(matrix, 0, bits)
    plain = disturbance(inputs, matrix, nearest(matrix, scales, bits), scales)
    fitted = disturbance(inputs, matrix, learned(matrix, scales, inputs, bits), scales)
    assert fitted < 0.5 * plain


def test_many_columns_are_rounded_in_parts_that_keep_the_output_too(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, inputs = weights(8, 150), correlated(1024, 150)
    scales = weight_scales(matrix, 0, 4)
    monkeypatch.setattr(rounding, "TOGETHER", 64)
    parts = learned(matrix, scales, inputs, 4)
    for begin, end in ((0, 50), (50, 100), (100, 150)):
        alone = learned(matrix[:, begin:end], scales, inputs[:, begin:end], 4)
        np.testing.assert_array_equal(parts[:, begin:end], alone)
    plain = disturbance(inputs, matrix, nearest(matrix, scales, 4), scales)
    assert disturbance(inputs, matrix, parts, scales) < 0.5 * plain


def test_learned_rounding_does_not_depend_on_the_order_of_columns_or_the_size_of_blocks() -> None:
    matrix, inputs = weights(4, 40), correlated(512, 40)
    scales = weight_scales(matrix, 0)
    expected = learned(matrix, scales, inputs)
    shuffled = np.random.default_rng(2).permutation(40)
    assert (learned(matrix[:, shuffled], scales, inputs[:, shuffled]) != expected[:, shuffled]).mean() < 0.02
    assert (learned(matrix, scales, inputs, block=7) != expected).mean() < 0.02


def test_learned_rounding_starts_with_the_most_excited_column() -> None:
    # Two columns that can make up for each other: the stronger one is rounded before the other's error reaches it.
    matrix, inputs = weights(16, 12), correlated(512, 12)
    inputs[:, 3] *= 10
    inputs[:, 7] = inputs[:, 3] * 1.5
    scales = weight_scales(matrix, 0, 4)
    assert (learned(matrix, scales, inputs, 4)[:, 7] == nearest(matrix, scales, 4)[:, 7]).all()


def test_inputs_of_nothing_but_zeros_are_no_harm() -> None:
    matrix = weights(3, 10)
    scales = weight_scales(matrix, 0)
    assert (learned(matrix, scales, np.zeros((16, 10), np.float32)) == nearest(matrix, scales)).all()


@pytest.mark.parametrize("size", [1, 5, 64, 65, 200])
def test_the_factor_of_the_inverse_is_upper_triangular_and_its_square_inverts(size: int) -> None:
    some = np.random.default_rng(size).normal(size=(2 * size, size))
    matrix = some.T @ some / size + 0.01 * np.eye(size)
    factor = inverse_factor(matrix)
    np.testing.assert_array_equal(np.tril(factor, -1), 0)
    np.testing.assert_allclose(factor.T @ factor @ matrix, np.eye(size), atol=1e-8)


def test_single_precision_is_enough_for_inputs_of_few_causes() -> None:
    inputs = correlated(256, 300)
    matrix = inputs.T @ inputs / np.float32(256)
    matrix[np.diag_indices(300)] += np.float32(rounding.DAMPING) * np.diag(matrix).mean()
    exact, single = inverse_factor(matrix.astype(np.float64)), inverse_factor(matrix)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact, atol=1e-3 * np.abs(exact).max())
