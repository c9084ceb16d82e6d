"""Weights onto their INT8 grid: to nearest, or with each rounding error made up for by the weights not yet rounded.

The latter is GPTQ (Frantar et al., arXiv:2210.17323; after Optimal Brain Surgeon, Hassibi & Stork 1993): it
minimises the error of the layer's *output* on calibration inputs, the aim of AdaRound (Nagel et al.,
arXiv:2004.10568), in closed form and without gradients.
"""

from __future__ import annotations

import itertools

import numpy as np

from edgedet.onnx_graph.network import Array

LARGEST_HESSIAN = 4608
"""Weights per output channel above which learned rounding is not tried."""
DAMPING = 0.01
TOGETHER = 640
"""Columns that make up for each other, at most. Four parts of 576 leave 2 to 4 % more error than all 2304 of a
convolution together, where rounding to nearest leaves 10 to 35 % more, and take a quarter of the time."""


def nearest(matrix: Array, scales: Array, bits: int = 8) -> Array:
    """Integers int8 [channels, K] of float ``matrix`` [channels, K] at ``scales`` [channels]."""
    limit = 2 ** (bits - 1) - 1
    return np.clip(np.rint(matrix / scales[:, None]), -limit, limit).astype(np.int8)


def learned(matrix: Array, scales: Array, inputs: Array, bits: int = 8, block: int = 32) -> Array:
    """Integers int8 [channels, K] that keep ``inputs @ matrix.T`` best; ``inputs`` float32 [n, K] as quantised.

    Columns are rounded from the most to the least excited one; what a rounding changes in the output is taken over
    by the columns that follow, by the inverse Hessian's Cholesky factor. Of more columns than ``TOGETHER``, parts
    that lie together (the window of a channel does) are rounded each for itself.
    """
    columns = matrix.shape[1]
    parts = -(-columns // TOGETHER)
    if parts > 1:
        cuts = [columns * part // parts for part in range(parts + 1)]
        return np.concatenate(
            [
                learned(matrix[:, begin:end], scales, inputs[:, begin:end], bits, block)
                for begin, end in itertools.pairwise(cuts)
            ],
            axis=1,
        )
    limit = 2 ** (bits - 1) - 1
    energy = np.einsum("nk,nk->k", inputs, inputs) / np.float32(len(inputs))
    order = np.argsort(-energy, kind="stable")
    excited = inputs[:, order]
    hessian = excited.T @ excited / np.float32(len(inputs))
    # Single precision moves the matrix by less than a hundredth of what is added to its diagonal.
    hessian[np.diag_indices(columns)] += np.float32(DAMPING * max(float(energy.mean()), 1e-12))
    factor = inverse_factor(hessian)
    # An error is handed on in these shares of itself.
    shares = factor / np.diagonal(factor)[:, None]
    # A column of the weights is a row here, so that it lies in one piece; in steps of its channels' grids.
    work = (matrix / scales[:, None]).T[order].astype(np.float32)
    result = np.empty_like(work)
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        errors = np.empty((stop - start, len(scales)), np.float32)
        for column in range(start, stop):
            # Plain ufuncs into arrays that are there: of narrow layers, calls are most of what this loop costs.
            integers, error = result[column], errors[column - start]
            np.rint(work[column], out=integers)
            np.maximum(integers, -limit, out=integers)
            np.minimum(integers, limit, out=integers)
            np.subtract(work[column], integers, out=error)
            work[column + 1 : stop] -= shares[column, column + 1 : stop, None] * error
        work[stop:] -= shares[start:stop, stop:].T @ errors
    restored = np.empty(matrix.shape, np.int8)
    restored[:, order] = result.T
    return restored


def inverse_factor(matrix: Array) -> Array:
    """The upper triangular U with ``U.T @ U`` the inverse of a positive definite ``matrix``: float [K, K].

    The inverse of the Cholesky factor of the matrix read backwards.
    """
    return _inverse_of_cholesky(matrix[::-1, ::-1])[::-1, ::-1]


SMALL = 96
"""Columns up to which LAPACK is as fast as splitting."""


def _inverse_of_cholesky(matrix: Array) -> Array:
    """Inverse of the lower Cholesky factor, half by half: all but the smallest pieces are matrix products.

    OpenBLAS's own factorisation runs at a tenth of the speed of its products where it has one thread.
    """
    size = len(matrix)
    if size <= SMALL:
        return np.tril(np.linalg.inv(np.linalg.cholesky(matrix)))
    half = size // 2
    inverse = np.zeros_like(matrix)
    inverse[:half, :half] = first = _inverse_of_cholesky(matrix[:half, :half])
    below = matrix[half:, :half] @ first.T
    inverse[half:, half:] = second = _inverse_of_cholesky(matrix[half:, half:] - below @ below.T)
    inverse[half:, :half] = -second @ (below @ first)
    return inverse
