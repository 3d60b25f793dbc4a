"""From a trained network to files that ship: safetensors, ONNX, golden tensors, index."""
