# The worker that trains and exports models on rented machines (`resolver llm train --rented`). An image of its own, since
# vLLM's holds other versions of what training needs. Build from the checkout's root, push it to a registry of yours, and
# name it by its digest in the config (pods.image):
#   docker build --tag REGISTRY/resolver-trainer --file docker/train.Dockerfile .
# It holds no model, no data and no secret. What it is to do stands in the environment that the command gives it.
ARG PYTHON=python:3.12-slim-trixie@sha256:f77ac9e44ae96ef2c90b8053ea08c31f8be030f824196b0ae4db6d462c84e51f

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY resolver resolver
COPY llm_classifier llm_classifier
COPY augmentation augmentation
COPY synthea_runner synthea_runner
# The release of torch that the tests run with, from PyPI: with CUDA.
RUN python -m venv /opt/resolver \
    && /opt/resolver/bin/pip install torch==2.13.0 ".[llm]"

FROM ${PYTHON}
# LightGBM is linked against OpenMP.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home resolver
COPY --from=build /opt/resolver /opt/resolver
ENV PATH=/opt/resolver/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 DO_NOT_TRACK=1
USER 10001
WORKDIR /home/resolver
ENTRYPOINT ["python", "-m", "llm_classifier.pods.worker"]
