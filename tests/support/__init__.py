"""Builders, fakes of our own ports and real servers shared by tests."""
