# film-zoo in a container, with all plugins that need nothing but a package:
#
#   docker build -t film-zoo .
#   docker run --rm -it -v "$PWD:/work" film-zoo zoo doctor               on the processor
#   docker run --rm -it -v "$PWD:/work" --gpus all film-zoo zoo doctor    with CUDA
#
# pip's usual torch for x86-64 has CUDA in it, several gigabytes. For a small image for processors
# alone, add `--build-arg PIP_EXTRA_INDEX_URL=` and the address of PyTorch's wheels for CPUs.
#
# Docker itself has not built this file. Its steps were run one by one in a bare Debian 13 with that
# system's Python 3.13: `zoo doctor` found no problem there, and `zoo walk` wrote its video. With
# CUDA the packages take 6.1 GB.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY zoo zoo
COPY plugins plugins
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL
ARG EXTRAS=fsq,hub,onnx,remote,tensorboard,vmaf
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[$EXTRAS]"
# What is kept between runs of any user: weights that were fetched, and caches of libraries.
ENV ZOO_CACHE=/cache TORCH_HOME=/cache/torch MPLCONFIGDIR=/cache/matplotlib
RUN mkdir /cache && chmod 1777 /cache
# Mount the folder with your films here: it is the workspace.
WORKDIR /work
CMD ["zoo", "--help"]
