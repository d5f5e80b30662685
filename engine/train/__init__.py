"""LoRA training: objective, noise levels, the stepper, checkpoints, wiring."""
