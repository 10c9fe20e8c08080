"""How Keras on TensorFlow is run and differentiated, with stand-ins for both packages.

TensorFlow is not needed: the stand-in knows y = x * gamma alone, whose gradients are closed forms.
"""

from __future__ import annotations

import sys
import types
from typing import Any, Self

import numpy as np
import pytest

from cnncli.errors import MissingExtraError
from cnncli.implementations import keras as ours
from cnncli.implementations.keras import Keras
from tests.building import task_of


class Tensor:
    """An array that only a tape can differentiate."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def numpy(self) -> Any:
        return self.array

    def __mul__(self, other: Tensor) -> Tensor:
        return Tensor(self.array * other.array)


class Tape:
    """Remembers what it watches, and knows the gradient of a product."""

    def __init__(self, *, persistent: bool) -> None:
        self.left = 9 if persistent else 1

    def __enter__(self) -> Self:
        self.watched: list[Tensor] = []
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def watch(self, tensor: Tensor) -> None:
        self.watched.append(tensor)

    def gradient(
        self,
        target: Tensor,
        sources: list[Tensor],
        output_gradients: Tensor,
        unconnected_gradients: str,
    ) -> list[Tensor]:
        self.left -= 1
        assert self.left >= 0, "asked more often than it remembers"
        assert all(any(source is seen for seen in self.watched) for source in sources)
        assert unconnected_gradients == "zero"
        x, gamma, beta = (source.array for source in sources)
        dy = output_gradients.array
        assert target.array.shape == dy.shape
        axes = tuple(range(x.ndim - 1))
        return [Tensor(dy * gamma), Tensor((dy * x).sum(axes)), Tensor(np.zeros_like(beta))]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    tf, keras = types.ModuleType("tensorflow"), types.ModuleType("keras")
    tf.__dict__.update(
        __version__="2.18.0",
        constant=Tensor,
        GradientTape=Tape,
        UnconnectedGradients=types.SimpleNamespace(ZERO="zero"),
    )
    backend = types.SimpleNamespace(backend=lambda: "tensorflow")
    keras.__dict__.update(__version__="3.5.0", backend=backend, ops=None)
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.setitem(sys.modules, "tensorflow", tf)
    monkeypatch.setitem(sys.modules, "keras", keras)


@pytest.mark.usefixtures("fakes")
def test_tensors_go_in_channels_last_and_come_back_nchw(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from keras import ops\n\ny = x * gamma\n"
    monkeypatch.setattr(ours, "write_keras", lambda plan: text)
    rng = np.random.default_rng(2)
    x, gamma = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal(3)
    task = task_of("bn", {}, {"x": x, "gamma": gamma, "beta": np.ones(3)})
    keras = Keras("tensorflow")
    (computed,) = keras.compute([task])
    found = computed.tensors
    dy, column = task.problem.tensors["dy"], gamma.reshape(1, 3, 1, 1)
    np.testing.assert_allclose(found["y"], x * column)
    np.testing.assert_allclose(found["dx"], dy * column)
    np.testing.assert_allclose(found["dgamma"], (dy * x).sum((0, 2, 3)))
    np.testing.assert_array_equal(found["dbeta"], np.zeros(3))
    assert keras.label == "tensorflow 2.18.0 (keras 3.5.0)"


@pytest.mark.usefixtures("fakes")
def test_what_is_timed_can_be_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from keras import ops\n\ny = x * gamma\n"
    monkeypatch.setattr(ours, "write_keras", lambda plan: text)
    rng = np.random.default_rng(3)
    x, gamma = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal(3)
    task = task_of("bn", {}, {"x": x, "gamma": gamma, "beta": np.ones(3)})
    calls = Keras("tensorflow").prepare(task).calls
    dy = np.moveaxis(task.problem.tensors["dy"], 1, -1)
    backward, step = calls.timed("backward"), calls.timed("step")
    for _ in range(2):
        np.testing.assert_allclose(backward()[0].numpy(), dy * gamma)
        y, dx, _, _ = step()
        np.testing.assert_allclose(y.numpy(), np.moveaxis(x, 1, -1) * gamma)
        np.testing.assert_allclose(dx.numpy(), dy * gamma)


@pytest.mark.usefixtures("fakes")
def test_a_backend_that_keras_already_left_behind_is_an_error() -> None:
    sys.modules["keras"].__dict__["backend"].backend = lambda: "jax"
    with pytest.raises(MissingExtraError, match="already runs on jax"):
        Keras("tensorflow")
