"""The rules of the product; nothing here knows discord.py or spells SQL."""
