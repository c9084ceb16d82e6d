"""A server that speaks Triton's protocol and holds clients to a configuration; ONNX Runtime is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

NUMPY = {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32, "TYPE_INT32": np.int32, "TYPE_INT64": np.int64}
WIRE = {"TYPE_UINT8": "UINT8", "TYPE_FP32": "FP32", "TYPE_INT32": "INT32", "TYPE_INT64": "INT64"}


def read_config(path: Path) -> Any:
    """``config.pbtxt`` by tritonclient's own schema: unknown fields, wrong types and bad enumerators fail."""
    return text_format.Parse(path.read_text("ascii"), model_config_pb2.ModelConfig())


def type_name(tensor: Any) -> str:
    return str(model_config_pb2.DataType.Name(tensor.data_type))


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, repository: Path) -> None:
        self._repository = repository

    def ModelConfig(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelConfigResponse(config=read_config(self._repository / request.name / "config.pbtxt"))

    def ModelInfer(self, request: Any, context: Any) -> Any:
        folder = self._repository / request.model_name
        config = read_config(folder / "config.pbtxt")
        (given,), (expected,) = request.inputs, config.input
        asked = (given.name, given.datatype, list(given.shape))
        promised = (expected.name, WIRE[type_name(expected)], list(expected.dims))
        if asked != promised:  # max_batch_size 0: dims are the whole shape
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"asked {asked}, expected {promised}")
        values = np.frombuffer(request.raw_input_contents[0], NUMPY[type_name(expected)]).reshape(given.shape)
        graph = folder / "1" / config.default_model_filename
        session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        names = [output.name for output in request.outputs]
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for output, found in zip(
            (next(o for o in config.output if o.name == name) for name in names),
            session.run(names, {given.name: values}),
            strict=True,
        ):
            assert (found.dtype, list(found.shape)) == (NUMPY[type_name(output)], list(output.dims))
            response.outputs.add(name=output.name, datatype=WIRE[type_name(output)], shape=found.shape)
            response.raw_output_contents.append(found.tobytes())
        return response


@contextmanager
def serving(repository: Path) -> Iterator[str]:
    """The address of a server that has the models of ``repository``."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Service(repository), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)
