"""A model trained in each framework, pushed to a real controller and served by a real device, whose answers are the
framework's own.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from sklearn.linear_model import LogisticRegression

from controller.broker.configurations import free_port
from controller.broker.process import start_broker
from controller.config import BrokerConfig
from edgeward.client import Client
from edgeward.demo.processes import Site, wait_for

pytestmark = [pytest.mark.broker, pytest.mark.soak, pytest.mark.timeout(300)]
RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(200, 4)), 2)
CLASSES = (X[:, 0] > 0).astype(int) + (X[:, 2] > 0)
FRESH = np.round(RNG.normal(size=(100, 4)), 2)
TOLERANCE = 1e-5
"""The tolerance of a probability in float32."""


def _xgboost() -> Any:
    module = pytest.importorskip("xgboost", reason="no XGBoost here: pip install 'edgeward[boosters]'")
    return module.XGBClassifier(n_estimators=10, n_jobs=1)


def _lightgbm() -> Any:
    module = pytest.importorskip("lightgbm", reason="no LightGBM here: pip install 'edgeward[boosters]'")
    return module.LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1)


def _catboost() -> Any:
    module = pytest.importorskip("catboost", reason="no CatBoost here: pip install 'edgeward[catboost]'")
    return module.CatBoostClassifier(iterations=10, verbose=0, allow_writing_files=False, thread_count=1)


class _Network:
    """A trained network with the methods of an estimator."""

    def __init__(self, model: Any, ask: Callable[[Any], Any]) -> None:
        self.model, self._ask = model, ask

    def predict_proba(self, rows: Any) -> Any:
        return self._ask(rows)[1]

    def predict(self, rows: Any) -> Any:
        return self._ask(rows)[0]


def _torch() -> Any:
    """Trains a network for a few steps. It answers a label and a probability for each class."""
    torch = pytest.importorskip("torch", reason="no PyTorch here: pip install 'edgeward[torch]'")

    class Classifier(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            layers = [torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout(0.1)]
            self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(16, 3))

        def forward(self, rows: Any) -> dict[str, Any]:
            scores = self.layers(rows)
            return {"label": scores.argmax(1), "probabilities": scores.softmax(1)}

    torch.manual_seed(0)
    model = Classifier()
    optimizer, rows = torch.optim.Adam(model.parameters(), lr=0.01), torch.tensor(X, dtype=torch.float32)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.layers(rows), torch.tensor(CLASSES)).backward()
        optimizer.step()

    def ask(fresh: Any) -> Any:
        model.eval()
        with torch.no_grad():
            return [each.numpy() for each in model(torch.tensor(fresh, dtype=torch.float32)).values()]

    return _Network(model, ask)


def _keras() -> Any:
    pytest.importorskip("torch", reason="no PyTorch here: pip install 'edgeward[keras]'")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="no Keras here: pip install 'edgeward[keras]'")
    keras.utils.set_random_seed(0)
    given = keras.Input((4,), name="rows")
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(16, activation="relu")(given))
    fractions = keras.layers.Dense(3, activation="softmax")(hidden)
    trained = keras.Model(given, fractions)
    trained.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    trained.fit(X.astype(np.float32), CLASSES, epochs=5, verbose=0)
    model = keras.Model(given, [keras.ops.argmax(fractions, axis=1), fractions])
    return _Network(model, lambda fresh: [np.asarray(each.detach()) for each in model(fresh.astype(np.float32))])


FRAMEWORKS: dict[str, Callable[[], Any]] = {
    "scikit": lambda: LogisticRegression(max_iter=200), "xgboost": _xgboost, "lightgbm": _lightgbm,
    "catboost": _catboost, "torch": _torch, "keras": _keras,
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, int]]:
    """A controller, and a device that serves."""
    directory, port = tmp_path_factory.mktemp("site"), free_port()
    broker = start_broker(BrokerConfig(url="auto", port=free_port()), directory / "broker")
    site = Site(directory, broker=broker.url, agent_tables=f'[serving]\nlisten = "127.0.0.1:{port}"\n')
    try:
        client = site.start_controller()
        site.start_agent(1)
        wait_for("the device", lambda: client.devices() or None)
        yield client, port
    finally:
        site.stop()
        broker.stop()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_device_answers_as_the_framework_does(site: tuple[Client, int], name: str) -> None:
    model = FRAMEWORKS[name]()
    pushed = model.model if isinstance(model, _Network) else model.fit(X, CLASSES)
    client, port = site
    version = client.push(pushed, name=name, sample=X)
    assert version.passed
    client.rollout(name, strategy="all_at_once")
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as device:
        wait_for("the model on the device", lambda: device.is_model_ready(name))
        told = device.get_model_metadata(name)
        kind = {"FP32": np.float32, "FP64": np.float64}[told["inputs"][0]["datatype"]]
        given = triton.InferInput(told["inputs"][0]["name"], list(FRESH.shape), told["inputs"][0]["datatype"])
        answered = device.infer(name, [given.set_data_from_numpy(FRESH.astype(kind))])
        label, fractions = (answered.as_numpy(output["name"]) for output in told["outputs"])
    np.testing.assert_allclose(fractions, model.predict_proba(FRESH), atol=TOLERANCE)
    assert (label == np.ravel(model.predict(FRESH))).all()
