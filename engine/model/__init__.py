"""Base models: the registry, loading, LoRA adapters, memory."""
