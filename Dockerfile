# syntax=docker/dockerfile:1
# The commands and the web page, without MMagic: docs/guides/install.md
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:${PYTHON}-slim-bookworm
# For OpenCV, and a compiler for the CPU kernel, which is built for the processor that it runs on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

# Where PyTorch comes from: empty for PyPI's wheels, which have CUDA; or an index with wheels for CPUs.
ARG TORCH_INDEX=
COPY requirements/default.txt /tmp/versions.txt
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url} ${TORCH_INDEX:+"$TORCH_INDEX"} \
    --constraint /tmp/versions.txt torch torchvision

ARG EXTRAS=web,video,export,hub
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --constraint /tmp/versions.txt "$(echo /wheels/*.whl)[${EXTRAS}]"

# The cache of kernels and downloads, for any user; mount a volume there to keep it.
ENV HOME=/cache
RUN mkdir -m 1777 /cache
USER 1000:1000
WORKDIR /images
EXPOSE 7860
ENTRYPOINT ["glean-plus"]
CMD ["--help"]
