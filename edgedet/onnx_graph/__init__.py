"""The one ONNX toolkit: graphs written, indexed, cleaned, rewritten, brought to an opset. Needs onnx."""
