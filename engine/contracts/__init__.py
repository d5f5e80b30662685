"""Everything bot and worker share: frozen pydantic values, nothing that imports torch, Discord, Redis or SQL."""
