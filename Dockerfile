# syntax=docker/dockerfile:1
# For a CPU:   docker build -t qlora-search .
# With CUDA:   docker build -t qlora-search --build-arg TORCH_INDEX=https://pypi.org/simple .
#              docker run --gpus all --shm-size 8g -v "$PWD/runs:/work/runs" qlora-search run --space lora_modules
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 HF_HOME=/work/cache/huggingface QLORA_SEARCH_CACHE=/work/cache/corpora

# Triton compiles its launcher with a C compiler
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/qlora-search
COPY pyproject.toml constraints.txt README.md ./
COPY qlora_search qlora_search
COPY tune tune
COPY search_spaces search_spaces
COPY trainable trainable
COPY analysis analysis
RUN pip install --no-cache-dir torch -c constraints.txt --index-url "$TORCH_INDEX" \
    && pip install --no-cache-dir -c constraints.txt . \
    && useradd --create-home --uid 1000 search \
    && mkdir -p /work/runs /work/cache \
    && chown -R search /work

USER 1000
WORKDIR /work
VOLUME /work
ENTRYPOINT ["qlora-search"]
CMD ["--help"]
