"""Rollouts of transformers on the bare model (no adapter to run beside it): a worker.

Settings: `engine` ("generate" or "continuous_batching"), `model`, `tokens` (a file of `bench.material.write`), `rows`,
`samples` of each question, `limit`. The end token is suppressed: every completion has `limit` tokens.
"""

import logging
import time
import warnings
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig, set_seed

from bench.material import lines
from bench.worker import Channel, Record

NEVER = -1  # no token has this id
PAGE = 32  # positions


def prompts(settings: Record) -> list[list[int]]:
    """Returns a prompt's tokens for every row."""
    rows = lines(settings["tokens"])[: settings["rows"] // settings["samples"]]
    return [row["prompt_ids"] for row in rows for _ in range(settings["samples"])]


def generate(model: Any, rows: list[list[int]], limit: int) -> int:
    """Draws with `generate` on left-padded prompts; returns the tokens drawn."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=limit, min_new_tokens=limit, pad_token_id=0
    )
    drawn = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return drawn.shape[0] * (drawn.shape[1] - width)


def continuous_batching(model: Any, rows: list[list[int]], limit: int) -> int:
    """Draws with `generate_batch`, the prompts unpadded; returns the tokens drawn."""
    config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=limit, eos_token_id=NEVER, pad_token_id=0
    )
    pages = -(-(max(map(len, rows)) + limit) // PAGE) + 1
    # By default the cache takes nine tenths of the free memory, and the time to touch it.
    room = ContinuousBatchingConfig(page_size=PAGE, num_blocks=len(rows) * pages)
    drawn = model.generate_batch(rows, generation_config=config, continuous_batching_config=room, progress_bar=False)
    return sum(len(output.generated_tokens) for output in drawn.values())


def main() -> None:
    """Serves."""
    channel = Channel()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    settings = channel.settings
    set_seed(0)
    model = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.bfloat16).eval()
    draw = {"generate": generate, "continuous_batching": continuous_batching}[settings["engine"]]
    rows = prompts(settings)

    def step() -> Record:
        began = time.perf_counter()
        with torch.no_grad():
            tokens = draw(model, rows, settings["limit"])
        return {"seconds": time.perf_counter() - began, "tokens": tokens}

    channel.ready(threads=torch.get_num_threads())
    channel.serve(step)


if __name__ == "__main__":
    main()
