"""The embedded base `tiny`: a small LTX-2.3 pipeline, the pixel-art world it is pretrained on, and its weights."""
