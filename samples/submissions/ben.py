"""The strides are read in the wrong order, and overlapping windows overwrite each other."""

import numpy as np


def zero_padding(X, padding):
    ph, pw = padding
    N, C, H, W = X.shape
    out = np.zeros((N, C, H + 2 * ph, W + 2 * pw))
    out[:, :, ph : ph + H, pw : pw + W] = X
    return out


def convolution2D(X, W, stride, padding):
    sw, sh = stride
    X = zero_padding(X, padding)
    F, _, KH, KW = W.shape
    OH = (X.shape[2] - KH) // sh + 1
    OW = (X.shape[3] - KW) // sw + 1
    out = np.zeros((X.shape[0], F, OH, OW))
    for i in range(OH):
        for j in range(OW):
            window = X[:, :, sh * i : sh * i + KH, sw * j : sw * j + KW]
            out[:, :, i, j] = np.tensordot(window, W, axes=([1, 2, 3], [1, 2, 3]))
    return out


def convolution2D_backward_filter(out_grad, X, W, stride):
    sh, sw = stride
    _, _, KH, KW = W.shape
    dW = np.zeros_like(W)
    for i in range(out_grad.shape[2]):
        for j in range(out_grad.shape[3]):
            window = X[:, :, sh * i : sh * i + KH, sw * j : sw * j + KW]
            dW += np.tensordot(out_grad[:, :, i, j], window, axes=([0], [0]))
    return dW


def convolution2D_backward_input(out_grad, X, W, stride):
    sh, sw = stride
    _, _, KH, KW = W.shape
    dX = np.zeros_like(X)
    for i in range(out_grad.shape[2]):
        for j in range(out_grad.shape[3]):
            part = np.tensordot(out_grad[:, :, i, j], W, axes=([1], [0]))
            dX[:, :, sh * i : sh * i + KH, sw * j : sw * j + KW] = part
    return dX


def pool_forward(X, f, s):
    N, C, H, W = X.shape
    OH, OW = (H - f) // s + 1, (W - f) // s + 1
    out = np.zeros((N, C, OH, OW))
    for i in range(OH):
        for j in range(OW):
            out[:, :, i, j] = X[:, :, s * i : s * i + f, s * j : s * j + f].max(axis=(2, 3))
    return out


def pool_back(grad_pool, X, f, s):
    dX = np.zeros_like(X)
    for n, c, i, j in np.ndindex(grad_pool.shape):
        window = X[n, c, s * i : s * i + f, s * j : s * j + f]
        k, m = np.unravel_index(np.argmax(window), window.shape)
        dX[n, c, s * i + k, s * j + m] = grad_pool[n, c, i, j]
    return dX


def batch_norm_forward(X, gamma, beta, eps=1e-5):
    mu = X.mean(axis=(0, 2, 3), keepdims=True)
    var = X.var(axis=(0, 2, 3), keepdims=True)
    normal = (X - mu) / np.sqrt(var + eps)
    return gamma[:, None, None] * normal + beta[:, None, None]


def batch_norm_backward(dout, X, gamma, beta, eps=1e-5):
    axes = (0, 2, 3)
    mu = X.mean(axis=axes, keepdims=True)
    sigma = np.sqrt(X.var(axis=axes, keepdims=True) + eps)
    normal = (X - mu) / sigma
    mean_dout = dout.mean(axis=axes, keepdims=True)
    mean_both = (dout * normal).mean(axis=axes, keepdims=True)
    return gamma[:, None, None] / sigma * (dout - mean_dout - normal * mean_both)
