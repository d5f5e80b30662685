"""Training data: ingest, captions, buckets, cached features."""
