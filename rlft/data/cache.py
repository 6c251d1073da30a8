"""Completions sampled once, kept on disk chunk by chunk."""

import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlft.base import Completion, Context, Group, Processes, Query, RunError, Sampling, UserError

VERSION = 2
"""Raised whenever the same settings would give other samples, so that no cache of older code is read."""

CHUNK = 32
"""Queries sampled and written at once unless told otherwise; an interruption loses no more than these."""


def sample_once(
    context: Context, queries: list[Query], count: int, sampling: Sampling, purpose: str = "offline", chunk: int = CHUNK
) -> tuple[list[Group], float]:
    """Returns `count` completions of π_ref per query, sampled now or read from the cache, and the seconds that those
    from the cache once took.

    The cache is keyed by the weights, tokenizer and template of π_ref, the sampling settings, the seed (unless the
    completions are greedy), the queries as rendered, and the code's version. The reward is no part of it: samples are
    kept, their scores are not.

    Args:
        purpose: what the random streams are named after, and the folder.
        chunk: queries sampled and written at once.

    Raises:
        RunError: if there is no sampler.
        UserError: if the cache cannot be written.
    """
    sampler = context.sampler
    if sampler is None:
        raise RunError("completions of π_ref are needed, and there is no model to sample them from")
    name = fingerprint(context, sampler.fingerprint(), queries, count, sampling, chunk)
    folder = context.cache_dir / purpose / name
    chunks = [queries[start : start + chunk] for start in range(0, len(queries), chunk)]
    files = [folder / f"{number:05d}.jsonl" for number in range(len(chunks))]
    # Everything is read before anything is sampled: sampling is collective, and a process that saw another's chunk
    # appear would skip a call that the others wait in.
    # What the first process found holds for all, since another run may be writing the same chunks.
    found = Processes().broadcast([_read(file, part, count) for file, part in zip(files, chunks, strict=True)])
    if all(found):
        context.say(f"{len(queries) * count} completions of π_ref read from {folder}")
    done: list[Group] = []
    spared = 0.0
    for file, part, cached in zip(files, chunks, found, strict=True):
        if cached is None:
            began = time.perf_counter()
            groups = sampler.sample(part, count, sampling, purpose=purpose, step=0, reference=True)
            seconds = (time.perf_counter() - began) / len(part)
            lines = [_encode(group, seconds) for group in groups]
            _write(file, lines)
            # Decoded like a warm cache, so that the first run and every later one hold the very same values.
            cached = [_decode(line, query)[0] for line, query in zip(lines, part, strict=True)], 0.0
            context.say(f"sampled π_ref on {len(done) + len(part)} of {len(queries)} questions, {count} each")
        done += cached[0]
        spared += cached[1]
    return done, spared


def fingerprint(context: Context, model: str, queries: list[Query], count: int, sampling: Sampling, chunk: int) -> str:
    """Returns 24 hex digits that name the samples."""
    seed = context.seed if sampling.temperature else 0
    parts: list[Any] = [VERSION, chunk, model, seed, count, asdict(sampling)]
    parts += [[query.id, query.messages] for query in queries]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _encode(group: Group, seconds: float) -> str:
    completions = [asdict(completion) for completion in group.completions]
    return json.dumps({"id": group.query.id, "seconds": seconds, "completions": completions})


def _decode(line: str, query: Query) -> tuple[Group, float]:
    """Returns a group and the seconds it took (0 where an older line does not say).

    Raises ValueError, KeyError or TypeError for a line that is not one of ours."""
    entry = json.loads(line)
    if entry["id"] != query.id:
        raise ValueError(f"the samples are of query {entry['id']}, not {query.id}")
    return Group(query, tuple(_completion(**fields) for fields in entry["completions"])), float(entry.get("seconds", 0))


def _completion(
    token_ids: list[int], text: str, finished: bool, trained: list[bool] | None, logps: list[float] | None
) -> Completion:
    return Completion(
        token_ids=tuple(token_ids),
        text=text,
        finished=finished,
        trained=None if trained is None else tuple(trained),
        logps=None if logps is None else tuple(logps),
    )


def _read(file: Path, chunk: list[Query], count: int) -> tuple[list[Group], float] | None:
    """Returns the groups of a chunk and the seconds they took, or None where it has to be sampled (again)."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        read = [_decode(line, query) for line, query in zip(lines, chunk, strict=True)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if any(len(group.completions) != count for group, _ in read):
        return None
    return [group for group, _ in read], sum(seconds for _, seconds in read)


def _write(file: Path, lines: list[str]) -> None:
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(part, file)
    except OSError as error:
        raise UserError(f"the cache of sampled completions cannot be written: {error}") from error
