#!/bin/sh
cd "$(dirname "$0")" || exit 1
exec "${TENSORFLOW_MODEL_SERVER:-tensorflow_model_server}" \
    --port=8500 \
    --rest_api_port=8501 \
    --model_config_file=./models.config \
    --model_config_file_poll_wait_seconds=30 \
    --monitoring_config_file=./monitoring.config \
    --tensorflow_intra_op_parallelism=4 \
    --tensorflow_inter_op_parallelism=4 \
    --rest_api_num_threads=16 \
    --grpc_max_threads=16 \
    --allow_version_labels_for_unavailable_models=true \
    --file_system_poll_wait_seconds=60 \
    --enable_batching=true \
    --batching_parameters_file=./batching_parameters.txt \
    "$@"
