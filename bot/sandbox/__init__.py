"""A loopback Discord: REST, gateway and CDN on 127.0.0.1 that the unmodified discord.py client talks to.

`python -m bot.sandbox run SCENARIO.yaml --out DIR` plays scripted people against the real bot and worker;
`async with LoopbackDiscord() as discord:` (`bot.sandbox.server`) is the same server inside a test.
"""
