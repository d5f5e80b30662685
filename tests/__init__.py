"""Callsheet's tests; layout in design.md section 6."""
