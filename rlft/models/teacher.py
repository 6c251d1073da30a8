"""The teacher of a distillation: another model, a frozen adapter beside the trained one, or π_ref shown more."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from rlft.base import Atom, Batch, Processes, UserError
from rlft.models.adapter import has_adapter
from rlft.models.config import ModelConfig, TeacherConfig
from rlft.models.embedded import embedded_model
from rlft.models.flops import Shape
from rlft.models.load import REFERENCE, TEACHER, Loaded, read_adapter, read_model, tensors_hash, weights_hash
from rlft.models.policy import Policy
from rlft.models.roles import Reference, ReferenceRole
from rlft.models.row_cache import RowCache


def load_teacher(
    config: TeacherConfig,
    settings: ModelConfig,
    loaded: Loaded,
    device: torch.device,
    say: Callable[[str], None],
    trust_remote_code: bool = False,
) -> Policy | None:
    """Loads what the teacher has of its own, before the policy is made of the model.

    Args:
        config, settings: the recipe's nodes `teacher` and `model`. loaded: the model that is trained.
        device, say, trust_remote_code: as for `load`.

    Returns:
        Another model, frozen, in the dtype of the one that is trained; or None where that one teaches itself, with a
        further adapter now if one is named.

    Raises:
        UserError: naming the key: a model or an adapter that cannot be read, a vocabulary that is another.
    """
    apart = config.path is not None or (config.adapter_path is not None and not has_adapter(loaded.model))
    model = loaded.model
    if apart:
        path, revision = config.where(settings)
        source = embedded_model(settings.hub_id, say) if path == "embedded" else path
        tokenizer, model = read_model("teacher.path", source, loaded.dtype, revision, trust_remote_code)
        _refuse_other_words(source, tokenizer, model, loaded.chat.tokenizer)
        model = model.to(device)
    if config.adapter_path is not None:
        model = read_adapter("teacher.adapter_path", model, config.adapter_path, TEACHER)
        for module in model.modules():  # it is never trained; with dropout in it a model would not run natively
            if TEACHER in getattr(module, "lora_dropout", {}):
                module.lora_dropout[TEACHER] = nn.Identity()
    return Policy(model.requires_grad_(False).eval(), say) if apart else None


def _refuse_other_words(source: str, tokenizer: Any, model: Any, ours: Any) -> None:
    theirs, words = tokenizer.get_vocab(), ours.get_vocab()
    other = sorted(words.keys() ^ theirs.keys() or {w for w, i in words.items() if theirs[w] != i})
    if other or model.get_output_embeddings().weight.shape[0] <= max(words.values()):
        example = f", {other[0]!r} for one" if other else ""
        raise UserError(
            f"teacher.path={source}: its vocabulary of {len(theirs)} tokens is not that of the model that is trained, "
            f"{len(words)}{example}; a teacher judges tokens, and both must have the same: take a model of its family"
        )


class Teacher:
    """π_teacher.

    Attributes:
        shape: what of it costs arithmetic. hash: of the weights it has of its own, None if it has none.
    """

    def __init__(self, policy: Policy, other: Policy | None = None):
        """Takes the policy that is trained, before its first step, and another model if `load_teacher` returned one."""
        model = policy.model if other is None else other.model
        own = TEACHER if has_adapter(model) and TEACHER in model.peft_config else REFERENCE
        self.shape = Shape.of(model, own)
        named = model.named_parameters()
        adapter = {name: p for name, p in named if f".{TEACHER}." in name} if own == TEACHER else {}
        self.hash = weights_hash(other.model) if other else tensors_hash(adapter) if adapter else None
        self._other = other
        self._reference = Reference(policy, keep=other is None, adapter=own)

    def active(self) -> AbstractContextManager[Policy]:
        """Returns a context in which the given policy computes π_teacher."""
        return self._reference.active() if self._other is None else nullcontext(self._other)


class TeacherRole(ReferenceRole):
    """Fills `logp_teacher`: log π_teacher of the tokens that the policy drew, after the prompts that the teacher reads.

    It remembers rows as a reference does; those that it `ran` have the prompts that it read.
    """

    def __init__(self, teacher: Teacher, tokens: int, atom: Atom, processes: Processes, cache: RowCache | None = None):
        super().__init__(teacher, tokens, atom, processes, cache)
        self.shape, self.hash = teacher.shape, teacher.hash

    def annotate(self, batch: Batch) -> Batch:
        """Returns the batch with log π_teacher [B, T], and without prompts of the teacher's own."""
        ids, mask = batch.teacher_prompt_ids, batch.teacher_prompt_mask
        batch = batch.replace(teacher_prompt_ids=None, teacher_prompt_mask=None)
        seen = batch if ids is None or mask is None else batch.replace(prompt_ids=ids, prompt_mask=mask)
        return batch.replace(logp_teacher=self.score(seen))
