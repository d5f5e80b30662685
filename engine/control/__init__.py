"""Control signals: from a clip to guiding frames, from guiding frames to reference tokens."""
