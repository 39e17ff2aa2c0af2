"""ONNX: the protobuf schema of its model files, which the wheel carries; nothing else of it is used."""

WHEELS = {
    "onnx==1.20.1": "2297f428c51c7fc6d8fad0cf34384284dfeff3f86799f8e83ef905451348ade0",
}
