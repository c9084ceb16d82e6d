"""Weights onto their INT8 grid: to nearest, or with each rounding error made up for by the weights not yet rounded.

The latter is GPTQ (Frantar et al., arXiv:2210.17323; after Optimal Brain Surgeon, Hassibi & Stork 1993): it
minimises the error of the layer's *output* on calibration inputs, the aim of AdaRound (Nagel et al.,
arXiv:2004.10568), in closed form and without gradients.
"""

from __future__ import annotations

import numpy as np

from edgedet.onnx_graph.network import Array

LARGEST_HESSIAN = 4608
"""Weights per output channel above which learned rounding is not tried: its cost grows with the cube."""
DAMPING = 0.01


def nearest(matrix: Array, scales: Array, bits: int = 8) -> Array:
    """Integers int8 [channels, K] of float ``matrix`` [channels, K] at ``scales`` [channels]."""
    limit = 2 ** (bits - 1) - 1
    return np.clip(np.rint(matrix / scales[:, None]), -limit, limit).astype(np.int8)


def learned(matrix: Array, scales: Array, inputs: Array, bits: int = 8, block: int = 64) -> Array:
    """Integers int8 [channels, K] that keep ``inputs @ matrix.T`` best; ``inputs`` float [n, K] as quantised.

    Columns are rounded from the most to the least excited one; what a rounding changes in the output is taken over
    by the columns that follow, by the inverse Hessian's Cholesky factor.
    """
    columns = matrix.shape[1]
    limit = 2 ** (bits - 1) - 1
    hessian = (inputs.T @ inputs / len(inputs)).astype(np.float64)
    energy = np.diag(hessian).copy()
    order = np.argsort(-energy, kind="stable")
    hessian = hessian[order][:, order]
    hessian[np.diag_indices(columns)] += DAMPING * max(energy.mean(), 1e-12)
    factor = inverse_factor(hessian).astype(np.float32)
    work = matrix[:, order].astype(np.float32).copy()
    result = np.empty_like(work)
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        errors = np.empty((len(work), stop - start), np.float32)
        for column in range(start, stop):
            integers = np.clip(np.rint(work[:, column] / scales), -limit, limit)
            result[:, column] = integers
            error = (work[:, column] - integers * scales) / factor[column, column]
            work[:, column:stop] -= error[:, None] * factor[column, column:stop]
            errors[:, column - start] = error
        work[:, stop:] -= errors @ factor[start:stop, stop:]
    restored = np.empty_like(result)
    restored[:, order] = result
    return restored.astype(np.int8)


def inverse_factor(matrix: Array) -> Array:
    """The upper triangular U with ``U.T @ U`` the inverse of a positive definite ``matrix``: float64 [K, K].

    From one Cholesky factorisation of the matrix read backwards, and the inverse of that factor: an eighth of the
    work of inverting the matrix and factorising what comes out.
    """
    return _inverse_of_lower(np.linalg.cholesky(matrix[::-1, ::-1]))[::-1, ::-1]


SMALL = 64
"""Columns up to which the general inverse is as fast."""


def _inverse_of_lower(lower: Array) -> Array:
    """Inverse of a lower triangular matrix, half by half."""
    size = len(lower)
    if size <= SMALL:
        return np.tril(np.linalg.inv(lower))
    half = size // 2
    inverse = np.zeros_like(lower)
    inverse[:half, :half] = first = _inverse_of_lower(lower[:half, :half])
    inverse[half:, half:] = second = _inverse_of_lower(lower[half:, half:])
    inverse[half:, :half] = -second @ (lower[half:, :half] @ first)
    return inverse
