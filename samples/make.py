"""Make the sample arrays: `python samples/make.py [FOLDER]`.

Writes into the folder that this file stands in, or into FOLDER, and always the same bytes. Every
number is a small fraction or a whole number that float16 or float32 holds exactly, so that sums of
their products are exact too and a comparison may ask for a tolerance of 0.

Needs NumPy alone. What is computed here is computed by plain loops, independently of cnncli.
(`notebook/conv_forward_y_torch.npy` is not made here: see configs/notebook/2-conv-forward.yaml.)
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def make_image() -> Array:
    """Return two pictures of 24 x 32 pixels in three colours, (2, 3, 24, 32), from 0 to 1.

    The first is a disc in front of a slope: red grows by 1/32 a column, green by 1/32 a row, blue
    is flat. The second has bars: red ones upright, green ones lying, blue a chequerboard.
    """
    row, column = np.indices((24, 32))
    disc = (row - 12) ** 2 + (column - 20) ** 2 <= 7**2
    slope = [column / 32, row / 32, np.full(row.shape, 0.25)]
    first = [np.where(disc, bright, s) for bright, s in zip((1, 0.75, 0.5), slope, strict=True)]
    second = [column // 4 % 2, row // 3 % 2, (row // 8 + column // 8) % 2]
    return np.array([first, second], np.float32)


def make_filters() -> dict[str, Array]:
    """Return the filters by name.

    Edge filters are (1, 3, 3, 3): a 3 x 3 stencil over brightness, which is a quarter red, half
    green and a quarter blue; `edges` is all four of them in this order. `blur` is (6, 1, 3, 5), two
    filters for each of three channels (`groups: 3`): a soft blur and a sideways smear. Each sums
    to 1, so that a flat picture stays as it is.
    """
    brightness = np.array([0.25, 0.5, 0.25]).reshape(3, 1, 1)
    stencils = {
        "sobel_x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
        "sobel_y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
        "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
        "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    }
    edges = {name: (brightness * stencil)[np.newaxis] for name, stencil in stencils.items()}
    soft = np.outer([1, 2, 1], [1, 4, 6, 4, 1]) / 64
    smear = np.outer([0, 1, 0], [1, 2, 2, 2, 1]) / 8
    blur = np.array([soft, smear] * 3)[:, np.newaxis]
    everything = {**edges, "edges": np.concatenate(list(edges.values())), "blur": blur}
    return {name: array.astype(np.float32) for name, array in everything.items()}


def make_conv() -> dict[str, Array]:
    """Return whole numbers to convolve: x (2, 3, 5, 7), w (4, 3, 3, 2), dy for stride (2, 1)."""
    draw = np.random.RandomState(2).randint
    shapes = {"x": (2, 3, 5, 7), "w": (4, 3, 3, 2), "dy": (2, 4, 2, 6)}
    return {name: draw(-4, 5, shape).astype(np.float64) for name, shape in shapes.items()}


def convolve(x: Array, w: Array, dy: Array, stride: tuple[int, int]) -> dict[str, Array]:
    """Return y, dx and dw of a convolution without padding, straight from the definition."""
    y, dx, dw = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(w.shape)
    for n, f, i, j in np.ndindex(*dy.shape):
        for c, k, m in np.ndindex(*w.shape[1:]):
            at = (n, c, stride[0] * i + k, stride[1] * j + m)
            y[n, f, i, j] += w[f, c, k, m] * x[at]
            dx[at] += w[f, c, k, m] * dy[n, f, i, j]
            dw[f, c, k, m] += x[at] * dy[n, f, i, j]
    return {"y": y, "dx": dx, "dw": dw}


def student_dx(x: Array, w: Array, dy: Array, stride: tuple[int, int]) -> Array:
    """Return dx with a student's fault: `=` in place of `+=` where windows overlap."""
    dx = np.zeros(x.shape)
    for n, i, j in itertools.product(range(len(dy)), *map(range, dy.shape[2:])):
        top, left = stride[0] * i, stride[1] * j
        window = np.einsum("f,fckm->ckm", dy[n, :, i, j], w)
        dx[n, :, top : top + w.shape[2], left : left + w.shape[3]] = window
    return dx


def make_activations() -> Array:
    """Return what a network's layer might put out, eighths from 0 to 4, half of them 0."""
    eighths = np.random.RandomState(3).randint(-32, 33, (2, 4, 6, 10))
    return (np.maximum(eighths, 0) / 8).astype("<f2")


def make_bn() -> dict[str, Array]:
    """Return every input of a batch normalization of three channels, by its name."""
    sixteenths = np.random.RandomState(4).randint(-64, 65, (4, 3, 5, 6))
    return {
        "x": 10 + sixteenths / 16,
        "gamma": np.array([1, 2, 0.5]),
        "beta": np.array([0, -1, 3.0]),
        "running_mean": np.array([9.5, 10, 10.25]),
        "running_var": np.array([4, 6.25, 9]),
    }


def make_padded() -> Array:
    """Return the notebook's padded image: rand(2, 3, 4, 4) with 3 rows and 2 columns around."""
    padded = np.zeros((2, 3, 10, 8))
    padded[:, :, 3:7, 2:6] = np.random.RandomState(1968).rand(2, 3, 4, 4)
    return padded


def write_all(folder: Path) -> None:
    """Write every sample into `folder`."""
    conv, stride = make_conv(), (2, 1)
    wrong = {"dx": student_dx(conv["x"], conv["w"], conv["dy"], stride)}
    save(folder, {"image": make_image()})
    save(folder / "conv", conv)
    save(folder / "conv-golden", convolve(conv["x"], conv["w"], conv["dy"], stride))
    save(folder / "conv-student", wrong)
    save(folder / "notebook", {"padding_y": make_padded()})
    save_npz(folder / "filters.npz", make_filters())
    save_npz(folder / "bn.npz", make_bn())
    (folder / "activations.bin").write_bytes(make_activations().tobytes())


def save(folder: Path, arrays: dict[str, Array]) -> None:
    """Write each array as NAME.npy."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def save_npz(file: Path, arrays: dict[str, Any]) -> None:
    """Write the arrays, by name, into one .npz."""
    np.savez(file, **arrays)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
