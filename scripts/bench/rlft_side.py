"""rlft's side: a recipe set up as `rlft train` does, and its steps taken by the same calls: a worker.

Settings: `words` (the recipe), and either nothing more (training), `replay` (a file of recorded groups to train on),
`record` (a file to write drawn groups to), or `rollout` (rows to draw and no training). `forced` suppresses the end
token, so that every completion has the full length.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from bench.flops import Shape
from bench.material import lines
from bench.noise import noise
from bench.worker import Channel, Record
from rlft.base import Batch, Completion, Group, Query, Reward, RewardFunction, Sampling, question_id
from rlft.models.flops import Way
from rlft.recipe import build, compose
from rlft.train.collate import collate
from rlft.train.plan import Plan
from rlft.train.session import Session, set_up

NEVER = -1  # no token has this id: a completion that waits for it goes on to its limit


@dataclass
class Noise(RewardFunction):
    """`bench.noise` as a reward function."""

    @property
    def name(self) -> str:
        return "noise"

    def score(self, groups: list[Group]) -> list[Group]:
        """Returns the groups with the noise of each completion's text."""
        return [group.scored([Reward(noise(c.text)) for c in group.completions]) for group in groups]


def plan(settings: Record) -> Plan:
    """Returns the recipe as objects. Where completions are sampled the reward is `Noise`."""
    composed = compose(settings["words"])
    built = build(composed.config, Path(tempfile.mkdtemp(prefix="bench-")))
    return replace(built, reward=Noise()) if composed.choices["data"] == "online" else built


def shape(session: Session) -> Shape:
    """Returns the numbers of the model that the FLOPs are counted by."""
    base = session.policy.base
    embedding, head = base.get_input_embeddings().weight, base.get_output_embeddings().weight
    named = list(session.policy.model.named_parameters())
    linear = [p for name, p in named if p.ndim == 2 and "lora_" not in name and p is not embedding and p is not head]
    adapter = sum(p.numel() for name, p in named if "lora_" in name)
    return Shape(sum(p.numel() for p in linear), adapter, head.shape[1], head.shape[0])


def trainer(session: Session, draw: Callable[[], list[Group]]) -> Callable[[], Record]:
    """Returns what takes a training step on the groups that are drawn, as a run's step does, and times its parts."""
    number: Iterator[int] = count()

    def step() -> Record:
        began = time.perf_counter()
        groups = draw()
        drawn = time.perf_counter()
        batch = collate(session.score(groups), session.loaded.chat, session.policy.score_dtype)
        scored = time.perf_counter()
        batch = session.learner.annotate(batch)
        annotated = time.perf_counter()
        session.learner.update(batch, next(number))
        updated = time.perf_counter()
        return {
            "seconds": updated - began,
            "rollout_s": drawn - began,
            "reward_s": scored - drawn,
            "reference_s": annotated - scored,
            "update_s": updated - annotated,
            **sizes(batch),
        }

    return step


def sizes(batch: Batch) -> Record:
    """Returns a batch's tokens: those that are trained, those of the prompts once a query, and the positions that must
    go through the layers: of prompts what all begin with once."""
    prompts = int(batch.prompt_mask.sum())
    inputs = int(Way(opens=True, at_once=10**9).read(batch).positions)
    return {"tokens": int(batch.mask.sum()), "prompt_tokens": prompts, "positions": inputs}


def roller(session: Session, rows: int, samples: int, limit: int) -> Callable[[], Record]:
    """Returns what draws `rows` completions of `limit` tokens, `samples` of each question, and times it."""
    groups = [json.loads(line) for line in Path(session.plan.config["data"]["train_file"]).read_text().splitlines()]
    asked = [({"role": "user", "content": group["prompt"]},) for group in groups[: rows // samples]]
    queries = [Query(question_id(turns[0]["content"]), turns) for turns in asked]
    number: Iterator[int] = count()

    def step() -> Record:
        began = time.perf_counter()
        drawn = session.sampler.sample(queries, samples, Sampling(limit), purpose="bench", step=next(number))
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "tokens": sum(len(c.token_ids) for group in drawn for c in group.completions)}

    return step


def recorder(session: Session, path: str) -> Callable[[], Record]:
    """Returns what draws a step's groups and adds them to a file."""

    def step() -> Record:
        began = time.perf_counter()
        groups = session.plan.source.next(session.plan.trainer.prompts_per_step)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps([recorded(group, session) for group in groups]) + "\n")
        tokens = sum(len(c.token_ids) for group in groups for c in group.completions)
        return {"seconds": time.perf_counter() - began, "tokens": tokens}

    return step


def recorded(group: Group, session: Session) -> Record:
    """Returns a drawn group as plain values, with its prompt's tokens."""
    return {
        "query": asdict(group.query),
        "prompt_ids": session.loaded.chat.prompt(group.query.messages),
        "completions": [{"token_ids": c.token_ids, "text": c.text, "finished": c.finished} for c in group.completions],
    }


def replayed(record: Record) -> Group:
    """Returns a recorded group."""
    query = record["query"]
    completions = [Completion(tuple(c["token_ids"]), c["text"], c["finished"]) for c in record["completions"]]
    return Group(Query(**{**query, "messages": tuple(query["messages"])}), tuple(completions))


def stepper(session: Session, settings: Record) -> Callable[[], Record]:
    """Returns what a step is, by the settings."""
    if settings.get("forced"):
        session.loaded.chat.eos_ids = {NEVER}
    if "rollout" in settings:
        return roller(session, **settings["rollout"])
    if "record" in settings:
        return recorder(session, settings["record"])
    if "replay" in settings:
        steps: Iterator[Any] = iter(lines(settings["replay"]))
        return trainer(session, lambda: [replayed(record) for record in next(steps)])
    source, each = session.plan.source, session.plan.trainer.prompts_per_step
    return trainer(session, lambda: source.next(each))


def main() -> None:
    """Serves."""
    channel = Channel()
    logging.disable(logging.WARNING)
    session = set_up(plan(channel.settings), print)
    step = stepper(session, channel.settings)
    channel.ready(shape=asdict(shape(session)), threads=torch.get_num_threads(), torch=torch.__version__)
    channel.serve(step)
    session.close()


if __name__ == "__main__":
    main()
