# The batch service: everything that `pip install resolver` gives, no compiler, no root. Build from the checkout's root:
#   docker build --tag resolver --file docker/cpu.Dockerfile .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" resolver run my.yaml
# With the language-model judge on the CPU (larger by some gigabytes): --build-arg EXTRAS=[llm], or [llm,s3]
ARG PYTHON=python:3.12-slim-trixie@sha256:f77ac9e44ae96ef2c90b8053ea08c31f8be030f824196b0ae4db6d462c84e51f

FROM ${PYTHON} AS build
ARG EXTRAS=
# What pip takes torch from; only asked where EXTRAS holds llm. The default brings no CUDA along.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY resolver resolver
COPY llm_classifier llm_classifier
COPY augmentation augmentation
COPY synthea_runner synthea_runner
RUN python -m venv /opt/resolver \
    && if [ -n "${EXTRAS}" ]; then /opt/resolver/bin/pip install --index-url "${TORCH_INDEX}" torch==2.13.0; fi \
    && /opt/resolver/bin/pip install ".${EXTRAS}"

FROM ${PYTHON}
# LightGBM is linked against OpenMP.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home resolver
COPY --from=build /opt/resolver /opt/resolver
ENV PATH=/opt/resolver/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /work
ENTRYPOINT ["resolver"]
CMD ["--help"]
