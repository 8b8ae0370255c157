"""An offline vLLM engine behind a pipe: lines of JSON in, lines of JSON out. Runs in vLLM's own environment.

Started by score/engine.py as a plain script, so it imports nothing of this package. The first line says what model and
how; each further one holds prompts as tokens and is answered with a logit each (null where there is none) and the
tokens that the prefix cache knew. Answers go out on a descriptor of their own: what vLLM prints goes to standard error.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any


def main() -> None:
    answers = open(int(sys.argv[1]), "w", encoding="utf-8", buffering=1)  # noqa: SIM115, PTH123 (a descriptor)
    told = json.loads(sys.stdin.readline())
    engine = _engine(told)
    answers.write(json.dumps({"ready": True}) + "\n")
    ask = _classify if told["kind"] == "classifier" else _complete
    for line in sys.stdin:
        prompts = json.loads(line)["prompts"]
        outputs = ask(engine, prompts, told)
        logits = [one if math.isfinite(one) else None for one, _ in outputs]
        answers.write(json.dumps({"logits": logits, "cached": sum(hits for _, hits in outputs)}) + "\n")


def _engine(told: dict[str, Any]) -> Any:
    import vllm

    more = {"pooler_config": vllm.config.PoolerConfig(use_activation=False)} if told["kind"] == "classifier" else {}
    return vllm.LLM(
        model=told["model"],
        dtype=told["dtype"],
        max_model_len=told["max_tokens"] + 1,
        enable_prefix_caching=True,
        enforce_eager=told["eager"],
        seed=0,
        disable_log_stats=True,
        **more,
    )


def _classify(engine: Any, prompts: list[list[int]], told: dict[str, Any]) -> list[tuple[float, int]]:
    import vllm

    outputs = engine.classify(
        [{"prompt_token_ids": one} for one in prompts],
        pooling_params=vllm.PoolingParams(task="classify", use_activation=False),
        use_tqdm=False,
    )
    return [(one.outputs.probs[1] - one.outputs.probs[0], getattr(one, "num_cached_tokens", 0) or 0) for one in outputs]


def _complete(engine: Any, prompts: list[list[int]], told: dict[str, Any]) -> list[tuple[float, int]]:
    import vllm

    no, yes = told["answers"]
    ask = vllm.SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=[no, yes])
    found = []
    for one in engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], ask, use_tqdm=False):
        spoken = one.outputs[0].logprobs[0]
        found.append((spoken[yes].logprob - spoken[no].logprob, one.num_cached_tokens or 0))
    return found


if __name__ == "__main__":
    main()
