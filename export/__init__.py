"""Exporting models to ONNX, TensorRT and OpenVINO; installed as `dseinvert.export`."""
