"""The calls of TF Serving's APIs, whichever door they came through: find the version, compute, keep count."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tensorflow_serving.apis import model_management_pb2

from maf_serving.codes import Code
from serving_config.local_server import metrics
from serving_config.local_server.classify import classify
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.model_config import parse_model_configs
from serving_config.local_server.model_metadata import check_metadata_request, model_metadata
from serving_config.local_server.model_status import model_status
from serving_config.local_server.multi_inference import multi_inference
from serving_config.local_server.predict import predict
from serving_config.local_server.regress import regress
from serving_config.local_server.request_servable import servable_for
from serving_config.local_server.servable import Servable

if TYPE_CHECKING:
    from serving_config.local_server.metrics import Metrics
    from serving_config.local_server.model_manager import ModelManager

_Answer = Callable[[Servable, Any, float | None], Any]


class Apis:
    """Answers requests; every method raises `RequestError`, takes a request message and returns its response."""

    def __init__(self, manager: ModelManager, measured: Metrics) -> None:
        self.manager = manager
        self.metrics = measured

    def predict(self, request: Any, timeout: float | None) -> Any:
        """Answers a `PredictRequest`."""
        return self._answer(predict, request, request.model_spec, timeout)

    def regress(self, request: Any, timeout: float | None) -> Any:
        """Answers a `RegressionRequest`."""
        return self._answer(regress, request, request.model_spec, timeout)

    def classify(self, request: Any, timeout: float | None) -> Any:
        """Answers a `ClassificationRequest`."""
        return self._answer(classify, request, request.model_spec, timeout)

    def multi_inference(self, request: Any, timeout: float | None) -> Any:
        """Answers a `MultiInferenceRequest`; the first task says which version."""
        if not request.tasks:
            raise invalid_argument("Inference request must have at least one task.")
        return self._answer(multi_inference, request, request.tasks[0].model_spec, timeout)

    def model_metadata(self, request: Any, _timeout: float | None) -> Any:
        """Answers a `GetModelMetadataRequest`."""
        check_metadata_request(request)
        with servable_for(self.manager, request.model_spec) as servable:
            return model_metadata(servable)

    def model_status(self, request: Any, _timeout: float | None) -> Any:
        """Answers a `GetModelStatusRequest`."""
        return model_status(self.manager, request)

    def reload_config(self, request: Any, timeout: float | None) -> Any:
        """Answers a `ReloadConfigRequest` once the new models are available."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        self.manager.configure(parse_model_configs(request.config), timeout=timeout)
        return model_management_pb2.ReloadConfigResponse()

    @contextlib.contextmanager
    def measured(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts one request to `model`, by its outcome, and the time of one that succeeds."""
        started = time.perf_counter()
        code = Code.INTERNAL
        try:
            yield
            code = Code.OK
        except RequestError as error:
            code = error.code
            raise
        finally:
            self.metrics.count(metrics.REQUEST_COUNT, model_name=model, status=code.name)
            if code is Code.OK:
                seconds = time.perf_counter() - started
                self.metrics.observe(metrics.REQUEST_LATENCY, seconds, model_name=model, API=api, entrypoint=entrypoint)

    def _answer(self, answer: _Answer, request: Any, spec: Any, timeout: float | None) -> Any:
        with servable_for(self.manager, spec) as servable:
            return answer(servable, request, timeout)
