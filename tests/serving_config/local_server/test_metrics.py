"""The page for Prometheus."""

from __future__ import annotations

import re

from serving_config.local_server.metrics import REQUEST_COUNT, REQUEST_LATENCY, Metrics
from serving_config.local_server.model_config import ModelConfig
from tests.serving_config.local_server.support import ROW, predict_request


def values(text):
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_requests_are_counted(small):
    before = values(small.get("/metrics").body.decode())
    small.post("/v1/models/small:predict", {"instances": [ROW]})
    small.post("/v1/models/small:predict", "nonsense")
    small.post("/v1/models/unknown:predict", {"instances": [ROW]})
    small.prediction.Predict(predict_request())
    answer = small.get("/metrics")
    assert (answer.status, answer.content_type) == (200, "text/plain")
    after = values(answer.body.decode())

    def grew(name):
        return float(after[name]) - float(before.get(name, 0))

    assert grew(':tensorflow:serving:request_count{model_name="small",status="OK"}') == 2
    assert grew(':tensorflow:serving:request_count{model_name="small",status="INVALID_ARGUMENT"}') == 1
    assert grew(':tensorflow:serving:request_count{model_name="unknown",status="NOT_FOUND"}') == 1
    for api, entrypoint in (("predict", "REST"), ("Predict", "GRPC")):
        labels = f'model_name="small",API="{api}",entrypoint="{entrypoint}"'
        assert grew(f":tensorflow:serving:request_latency_count{{{labels}}}") == 1
        assert grew(f':tensorflow:serving:request_latency_bucket{{{labels},le="+Inf"}}') == 1
    assert grew(":tensorflow:core:graph_runs{}") == 2
    assert grew(':tensorflow:serving:runtime_latency_count{model_name="small",API="Predict",runtime="TF1"}') == 2


def test_every_line_is_in_prometheus_format(small):
    line = re.compile(r'(# TYPE [a-zA-Z_:]+ (counter|histogram))|([a-zA-Z_:]+\{([a-zA-Z_]+="[^"]*",?)*\} [0-9.e+]+)')
    for each in small.get("/metrics").body.decode().splitlines():
        assert line.fullmatch(each), each


def test_buckets_are_cumulative():
    metrics = Metrics()
    for seconds in (1e-6, 1e-3, 1e9):
        metrics.observe(REQUEST_LATENCY, seconds, model_name="m")
    buckets = [int(count) for name, count in values(metrics.to_text()).items() if "_bucket" in name]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-2], buckets[-1]) == (1, 2, 3)


def test_names_that_clients_make_up_do_not_fill_the_memory():
    metrics = Metrics()
    for number in range(5000):
        metrics.count(REQUEST_COUNT, model_name=f"{number}")
    assert len(values(metrics.to_text())) == 1000


def test_quotes_in_a_name_are_escaped():
    metrics = Metrics()
    metrics.count(REQUEST_COUNT, model_name='a"\\\n')
    assert '{model_name="a\\"\\\\\\n"} 1' in metrics.to_text()


def test_there_is_no_page_unless_asked_for(serve, base):
    assert serve(ModelConfig(name="small", base_path=str(base))).get("/metrics").status == 404
