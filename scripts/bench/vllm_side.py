"""vLLM's rollouts of the bare model, in an environment of its own: a worker.

Settings as for `bench.engines`. Log-probs are not asked for.
"""

import json
import os
import time
from pathlib import Path

from bench.worker import Channel, Record


def main() -> None:
    """Serves."""
    channel = Channel()
    # Left to itself vLLM keeps a core for its scheduler and runs a thread per physical core: on a small machine, one.
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    from vllm import LLM, SamplingParams, __version__  # pyright: ignore[reportMissingImports]  # in its own environment

    settings = channel.settings
    texts = Path(settings["tokens"]).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(text)["prompt_ids"] for text in texts[: settings["rows"] // settings["samples"]]]
    limit = settings["limit"]
    engine = LLM(settings["model"], dtype="bfloat16", max_model_len=max(map(len, rows)) + limit, seed=0)
    wanted = SamplingParams(n=settings["samples"], temperature=1.0, max_tokens=limit, ignore_eos=True)

    def step() -> Record:
        began = time.perf_counter()
        drawn = engine.generate([{"prompt_token_ids": row} for row in rows], wanted, use_tqdm=False)
        tokens = sum(len(one.token_ids) for request in drawn for one in request.outputs)
        return {"seconds": time.perf_counter() - began, "tokens": tokens}

    channel.ready(vllm=__version__)
    channel.serve(step)


if __name__ == "__main__":
    main()
