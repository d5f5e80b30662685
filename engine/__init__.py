"""The engine: data, training and sampling. Nothing is imported here, so that `engine.contracts` loads without torch."""
