"""The process on a GPU host: a torch-free arq worker that owns one GPU child."""
