"""TRL's side: its trainer for the method, with the settings that make it compute what rlft computes: a worker.

Settings: `method` (grpo, dpo or sft), `model` (a folder), `tokens` (a file of `bench.material.write`), `rows` (of a
step: completions, pairs or rows), `steps`, `micro_batch`, `options` (of `bench.kinds.OPTIONS`), `learning_rate`,
`beta`; for GRPO `samples`, `limit` and perhaps `replay` (a file of recorded groups).
"""

import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from bench.material import lines
from bench.noise import noise
from bench.worker import Channel, Record

PAGE = 32  # positions of continuous batching's cache that are allotted together


class Clock:
    """Seconds by part of a step, and what went through the model in it."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begins a step."""
        self.began = time.perf_counter()
        self.parts = {"rollout_s": 0.0, "reference_s": 0.0}
        self.trained = self.prompts = self.positions = 0
        self.entered = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds what the block takes to a part."""
        began = time.perf_counter()
        yield
        self.parts[name] += time.perf_counter() - began

    def record(self) -> Record:
        """Returns the step, the rest of it as the update."""
        seconds = time.perf_counter() - self.began
        return {
            "seconds": seconds,
            **self.parts,
            "update_s": seconds - sum(self.parts.values()),
            "tokens": self.trained,
            "prompt_tokens": self.prompts,
            "positions": self.positions,
        }

    def watch(self, model: torch.nn.Module) -> None:
        """Counts what goes through the model with gradient, and times what goes through it without: π_ref."""

        def before(_: Any, args: Any, kwargs: Record) -> None:
            if torch.is_grad_enabled():
                self.positions += kwargs["input_ids"].numel()
                self.trained += int((kwargs["labels"][:, 1:] != -100).sum())
            else:
                self.entered = time.perf_counter()

        def after(*_: Any) -> None:
            if not torch.is_grad_enabled():
                self.parts["reference_s"] += time.perf_counter() - self.entered

        model.register_forward_pre_hook(before, with_kwargs=True)
        model.register_forward_hook(after)


class Turns(TrainerCallback):
    """Waits before every step until it is wanted, and answers after it."""

    def __init__(self, channel: Channel, clock: Clock):
        self.channel, self.clock = channel, clock

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Says that the first step can be taken."""
        self.channel.ready(threads=torch.get_num_threads())

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Waits; ends the process where no further step is wanted."""
        if not self.channel.wait():
            sys.exit(0)
        self.clock.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Answers."""
        self.channel.answer(self.clock.record())


class Grpo(GRPOTrainer):
    """TRL's trainer with its rollout timed, or replaced by recorded completions."""

    clock: Clock
    groups: dict[tuple[int, ...], list[list[int]]]

    def _generate_single_turn(self, prompt_ids: list[list[int]], *rest: Any, **named: Any) -> Any:
        self.clock.prompts = sum(map(len, prompt_ids)) // (self.num_generations or 1)
        if not self.groups:
            with self.clock.part("rollout_s"):
                return super()._generate_single_turn(prompt_ids, *rest, **named)
        drawn = {prompt: iter(completions) for prompt, completions in self.groups.items()}
        return [next(drawn[tuple(prompt)]) for prompt in prompt_ids], None


class Dpo(DPOTrainer):
    """TRL's trainer on rows that are tokens already."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def adapter() -> LoraConfig:
    """Returns the adapter that rlft's recipes have."""
    return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def arguments(settings: Record) -> Record:
    """Returns the training arguments that all methods share."""
    options, micro = settings["options"], settings["micro_batch"]
    return {
        "output_dir": tempfile.mkdtemp(prefix="bench-"),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": settings["rows"] // micro,
        "max_steps": settings["steps"],
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "bf16": True,  # as TRL has it: autocast, over weights that are bfloat16 and adapters that are float32
        "gradient_checkpointing": "checkpointing" in options,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "seed": 0,
    }


def grpo(settings: Record, common: Record, clock: Clock) -> Any:
    """Returns the trainer of the same objective: group-normalised advantages, ratio clipped at 0.2, k3 to π_ref,
    the mean over each completion's tokens, one optimiser step a batch."""
    rows = lines(settings["tokens"])
    pages = -(-(max(length(row) for row in rows) + settings["limit"]) // PAGE) + 1
    config = GRPOConfig(
        **common,
        use_transformers_continuous_batching="continuous_batching" in settings["options"],
        transformers_continuous_batching_config={"page_size": PAGE, "num_blocks": settings["rows"] * pages},
        num_generations=settings["samples"],
        max_completion_length=settings["limit"],
        beta=settings["beta"],
        loss_type="grpo",
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        shuffle_dataset=False,
    )

    prompts = Dataset.from_list([{"prompt": row["messages"]} for row in rows])

    def reward(completions: list[Any], **_: Any) -> list[float | None]:
        return [noise(turns[0]["content"]) for turns in completions]

    trainer = Grpo(reward_funcs=reward, args=config, train_dataset=prompts, **loaded(settings))
    trainer.clock = clock
    trainer.groups = {
        tuple(group["prompt_ids"]): [c["token_ids"] for c in group["completions"]]
        for step in (lines(settings["replay"]) if "replay" in settings else [])
        for group in step
    }
    return trainer


def dpo(settings: Record, common: Record, clock: Clock) -> Any:
    """Returns the trainer of the sigmoid objective, π_ref computed in the step."""
    config = DPOConfig(**common, beta=settings["beta"], max_length=None, train_sampling_strategy="sequential")
    rows = [
        {
            "prompt": "",
            "prompt_ids": row["prompt_ids"],
            "chosen_ids": row["answers"][0],
            "rejected_ids": row["answers"][1],
        }
        for row in in_order(settings)
    ]
    return Dpo(args=config, train_dataset=Dataset.from_list(rows), **loaded(settings))


def sft(settings: Record, common: Record, clock: Clock) -> Any:
    """Returns the trainer of the answers' likelihood, the mean over the tokens of a step."""
    flat = "padding_free" in settings["options"]
    config = SFTConfig(**common, max_length=None, padding_free=flat, train_sampling_strategy="sequential")
    rows = [
        {
            "input_ids": row["prompt_ids"] + row["answers"][0],
            "labels": [-100] * len(row["prompt_ids"]) + row["answers"][0],
        }
        for row in in_order(settings)
    ]
    return SFTTrainer(args=config, train_dataset=Dataset.from_list(rows), **loaded(settings))


def in_order(settings: Record) -> list[Record]:
    """Returns the rows; with the option "sorted" those of each step by length, the longest first."""
    rows, each = lines(settings["tokens"]), settings["rows"]
    if "sorted" not in settings["options"]:
        return rows
    steps = [rows[start : start + each] for start in range(0, len(rows), each)]
    return [row for step in steps for row in sorted(step, key=length, reverse=True)]


def length(row: Record) -> int:
    """Returns the tokens of a row's longest sequence."""
    return len(row["prompt_ids"]) + max(map(len, row["answers"]))


def loaded(settings: Record) -> Record:
    """Returns model, tokenizer and adapter, as every trainer takes them."""
    return {
        "model": AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.bfloat16),
        "processing_class": AutoTokenizer.from_pretrained(settings["model"]),
        "peft_config": adapter(),
    }


def main() -> None:
    """Trains, a step at a time."""
    channel, clock = Channel(), Clock()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()
    make = {"grpo": grpo, "dpo": dpo, "sft": sft}[channel.settings["method"]]
    trainer = make(channel.settings, arguments(channel.settings), clock)
    clock.watch(trainer.model)
    trainer.add_callback(Turns(channel, clock))
    trainer.train()


if __name__ == "__main__":
    main()
