"""How the server runs and is watched: Docker Compose, Kubernetes, KServe, Prometheus, Grafana.

Each file makes the data of one format from a `ServingSpec`; `serving_config/configuration.py` prints them. Read
first: `kubernetes.py` and `kubernetes.py`; then `kubernetes.py`, the probe that its pods and the Compose file share.
"""
