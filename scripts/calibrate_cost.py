"""Measures what `rlft cost` takes for granted, and holds its predictions against runs.

Usage: python scripts/calibrate_cost.py memory          measures the constants of rlft/theory/memory.py (2 minutes)
       python scripts/calibrate_cost.py flops  [STEPS]  closed formulas against torch's counter, for every *_math recipe
                                                        (8 steps: before any reward GRPO and PPO have no backward)
       python scripts/calibrate_cost.py runs   [STEPS]  runs every *_math recipe (10 steps) on an otherwise idle machine
                                                        and compares FLOPs, memory and seconds with the prediction
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

RECIPES = ("sft_math", "rft_math", "online_rft_math", "dpo_math", "ppo_math", "grpo_math")
LIMIT = {"flops": 0.10, "memory_bytes": 0.15, "seconds": 0.25, "rollout_seconds": 0.25}


def alone(what: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function gives in a process of its own, whose heap nothing was on before."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(what, arguments)


def peak_of(run: Callable[[int], Any], size: int) -> int:
    """Returns the bytes by which a call raises the resident set at its worst moment (Linux). It is run small before, so
    that what is made but once is there; run large, it would leave a heap that the second run finds room in."""
    run(1)
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
    before = _status("VmRSS")
    run(size)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {key}")


def libraries() -> int:
    """The peak of a run whose model weighs nothing: interpreter, libraries, data, optimiser's own."""
    from transformers import AutoConfig

    from rlft.models.config import ModelConfig
    from rlft.models.embedded import embedded_model
    from rlft.recipe import build, compose
    from rlft.theory.calibration import fill
    from rlft.theory.model import build as build_model
    from rlft.train import train

    source = embedded_model(None, print)
    config = AutoConfig.from_pretrained(source)
    config.update({"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1})
    config.update({"num_key_value_heads": 1, "head_dim": 16})
    with tempfile.TemporaryDirectory() as folder:
        model = build_model(config, ModelConfig(adapter="none"), "cpu")
        fill(model)
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (Path(folder) / name).write_bytes((Path(source) / name).read_bytes())
        words = ["recipe=sft_math", "model=hub", f"model.path={folder}", "model.dtype=bfloat16", "trainer.steps=2"]
        words += ["trainer.eval_size=0", "trainer.prompts_per_step=1"]
        train(build(compose(words).config, Path(folder) / "run"))
    return _status("VmHWM")


def kept(dtype: torch.dtype, inner: int, positions: int, layers: int = 10) -> int:
    """The peak of a pass forward and backward through layers of SmolLM2-135M with another feed-forward width."""
    from transformers import AutoConfig

    from rlft.models.config import ModelConfig
    from rlft.models.embedded import embedded_model
    from rlft.models.policy import Policy
    from rlft.theory.calibration import equal_rows, fill
    from rlft.theory.model import build

    config = AutoConfig.from_pretrained(embedded_model(None, print))
    config.update({"intermediate_size": inner, "num_hidden_layers": layers})
    model = build(config, ModelConfig(), "cpu", dtype).eval()
    fill(model)
    policy = Policy(model, print)

    def update(queries: int) -> None:
        hidden = policy.hidden(equal_rows(queries, 8, 64, 25, torch.device("cpu")))  # 64 + 8·24 = 256 positions each
        hidden.backward(torch.ones_like(hidden))

    return peak_of(update, positions // 256)


def head() -> int:
    """The peak of scoring 1024 tokens over 49,152 with their gradient."""
    from rlft.models.policy import CHUNK_NUMBERS
    from rlft.ops.logprob import linear_logp

    weight = torch.ones(49152, 576, dtype=torch.bfloat16)

    def score(tokens: int) -> None:
        hidden = torch.ones(tokens, 576, dtype=torch.bfloat16, requires_grad=True)
        target = torch.zeros(tokens, dtype=torch.long)
        linear_logp(hidden, weight, target, CHUNK_NUMBERS // 49152, return_entropy=True)

    return peak_of(score, 1024)


def drawn() -> int:
    """The peak of drawing a token for each of 64 rows over 49,152."""
    from rlft.base import Sampling
    from rlft.models.decode import choose

    return peak_of(lambda rows: choose(torch.zeros(rows, 49152), torch.full((rows,), 0.5), Sampling(1)), 64)


def memory() -> None:
    """Prints the constants."""
    from rlft.models.policy import CHUNK_NUMBERS

    print(f"LIBRARIES = {alone(libraries) / 1e9:.2f}e9")
    for dtype in (torch.bfloat16, torch.float32):
        each = {}
        for inner in (1536, 6144):
            low, high = (alone(kept, dtype, inner, positions) for positions in (1024, 3072))
            each[inner] = (high - low) / 2048 / 10 / dtype.itemsize  # numbers per position and layer
        inner_vectors = (each[6144] - each[1536]) / (6144 - 1536)
        print(f"KEPT_WIDTH{'' if dtype.itemsize == 2 else '_WIDE'} = {(each[1536] - inner_vectors * 1536) / 576:.1f}")
        print(f"KEPT_INNER = {inner_vectors:.2f} in {dtype}")
    print(f"SCORED = {alone(head) / CHUNK_NUMBERS:.1f}")
    print(f"DRAWN = {alone(drawn) / (64 * 49152):.1f}")


def counted(recipe: str, steps: int) -> tuple[float, float, float]:
    """Returns the FLOPs of a short run as torch counts them, as its bill has them, and as its lengths foretell."""
    from rlft.models.flops import counter
    from rlft.recipe import build, compose
    from rlft.theory import bounds, is_native, read_lengths, read_model, read_run, read_work
    from rlft.theory.flops import run_flops
    from rlft.train import session, train

    words = [f"recipe={recipe}", f"trainer.steps={steps}", "trainer.eval_size=0", "trainer.tokens_per_micro_batch=4096"]
    words += ["data.pool=24"] if recipe in ("rft_math", "dpo_math") else []
    with tempfile.TemporaryDirectory() as folder:
        plan = build(compose(words).config, Path(folder))
        session.cache_home = lambda: Path(folder) / "cache"  # where no sample is; the model stays where it was
        with counter() as flops:
            summary = train(plan)
        model = read_model(plan.model)
        work = read_work(plan, 4096, opens=is_native(model))
        limits = bounds(work, read_lengths(plan, model.source))
        lengths = read_run(Path(folder), work, limits[1].pool).onto(limits, same=True)[1]
        lengths = replace(lengths, pool=work.pool or 0)
        return flops.get_total_flops(), summary["totals"]["flops"], sum(run_flops(work, model.shape, lengths).values())


def flops(steps: int) -> bool:
    """Prints counted, billed and foretold FLOPs of every recipe; returns whether all are within the limit."""
    print(f"{'recipe':<18}{'counted':>12}{'billed':>12}{'foretold':>12}  foretold/counted")
    good = True
    for recipe in RECIPES:
        found, billed, foretold = alone(counted, recipe, steps)
        print(f"{recipe:<18}{found:>12.3e}{billed:>12.3e}{foretold:>12.3e}  {foretold / found:.3f}", flush=True)
        good &= abs(foretold / found - 1) <= LIMIT["flops"]
    return good


def runs(steps: int) -> bool:
    """Runs every recipe, then prints the ratio of prediction to measurement; returns whether all are within limits."""
    print(f"{'recipe':<18}{'FLOPs':>8}{'memory':>8}{'steps':>8}{'rollout':>8}   predicted / measured")
    good = True
    for recipe in RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            rlft = [sys.executable, "-m", "rlft"]
            # A seed of its own, or what is sampled once would be read from the cache.
            run = [
                f"recipe={recipe}",
                f"trainer.steps={steps}",
                f"output_dir={folder}",
                f"seed={time.time_ns() % 2**31}",
            ]
            subprocess.run([*rlft, "train", *run, "--json"], check=True, stdout=subprocess.DEVNULL)
            cost = subprocess.run([*rlft, "cost", f"from_run={folder}", "--json"], check=True, stdout=subprocess.PIPE)
        ratio = json.loads(cost.stdout)["ratio"]
        print(f"{recipe:<18}" + "".join(f"{value:>8.2f}" for value in ratio.values()), flush=True)
        # A method that samples nothing measures no seconds of sampling, and its ratio is 0.
        good &= all(abs(value - 1) <= LIMIT[key] for key, value in ratio.items() if value)
    return good


def main(words: list[str]) -> None:
    """Does what is named; ends with status 1 where a prediction is past its limit."""
    if words == ["memory"]:
        memory()
    elif words and words[0] in ("flops", "runs"):
        check, least = {"flops": (flops, 8), "runs": (runs, 10)}[words[0]]
        sys.exit(0 if check(int(words[1]) if len(words) > 1 else least) else 1)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
