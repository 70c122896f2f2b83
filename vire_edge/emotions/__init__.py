"""48×48 faces → emotion scores. A model file is inspected, tried out and held to the contract before it is used."""

from vire_edge.emotions.classifier import OnnxEmotionClassifier, shipped_model_path

__all__ = ["OnnxEmotionClassifier", "shipped_model_path"]
