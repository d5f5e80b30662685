# Two targets: `bot` (no torch) and `worker` (CUDA). Unbuilt so far: no Docker engine was at hand where this was written.
FROM python:3.11-slim AS base
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
WORKDIR /app
RUN useradd --create-home callsheet && mkdir /data && chown callsheet /data
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY engine engine
COPY bot bot
COPY worker worker

FROM base AS bot
RUN pip install --constraint constraints.txt '.[bot]'
USER callsheet
VOLUME /data
CMD ["python", "-m", "bot"]

# PyPI's torch wheels bring CUDA with them; the host needs the NVIDIA container toolkit.
FROM base AS worker
RUN pip install --constraint constraints.txt '.[worker]'
USER callsheet
VOLUME /data
CMD ["python", "-m", "worker"]
