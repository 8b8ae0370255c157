#!/bin/sh
# What the service `resolver` of the compose file does, step by step. What is there already is kept.
set -eu
cd "$(dirname "$0")"
resolver run linked.yaml
[ -e /work/dataset/dataset.json ] || resolver llm dataset model.yaml
[ -e /work/base ] || resolver llm base --tiny /work/base --from /work/dataset
resolver llm train model.yaml
[ -e /work/model ] || resolver llm export /work/trained --out /work/model
resolver infer infer.yaml --wait
resolver pods list infer.yaml
