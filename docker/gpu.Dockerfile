# The worker of rented machines, in vLLM's own image. Build from the checkout's root, push it to a registry of yours, and
# name it by its digest in the config (pods.image):
#   docker build --tag REGISTRY/resolver-worker --file docker/gpu.Dockerfile .
# It holds no model and no secret. What it is to do stands in the environment that `resolver infer` gives it.
FROM vllm/vllm-openai:v0.31.0@sha256:c1c9f6fd5c109ba7f0546a59f5b2f15fb87f64c77782e90a27b648b42a8e67c3
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
COPY pyproject.toml README.md LICENSE /src/
COPY configs /src/configs
COPY resolver /src/resolver
COPY llm_classifier /src/llm_classifier
COPY augmentation /src/augmentation
COPY synthea_runner /src/synthea_runner
# The worker needs little more than vLLM has: the package without what it asks for, and these.
RUN python3 -m pip install --no-deps /src \
    && python3 -m pip install "polars>=2.1,<3" "cryptography>=45" "httpx>=0.28" \
    && rm -rf /src \
    && useradd --uid 10001 --create-home resolver
ENV HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
USER 10001
WORKDIR /home/resolver
ENTRYPOINT ["python3", "-m", "llm_classifier.pods.worker"]
