"""Slash commands: acknowledge, parse, call one service, render. No SQL and no Redis here."""
