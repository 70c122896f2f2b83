"""Offline: faces with labels become the model file that the edge runs.

    CSV → Dataset → cleaned, split → Batches (augmented) → Keras model → run directory → ONNX + figures

Nothing here runs on the device; only `cli` imports it, inside the command. TensorFlow,
Keras and ONNX are the optional extra `train`, asked for by the functions that need them.
"""
