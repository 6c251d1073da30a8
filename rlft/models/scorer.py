"""A reward model as a module: a batch in, a score for each completion out, in the place of log π."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlft import ops
from rlft.base import Batch
from rlft.models.adapter import has_adapter
from rlft.models.chat import ChatTemplate
from rlft.models.load import POLICY
from rlft.models.policy import Policy

WEIGHTS = "adapter_model.safetensors"
HEAD = "base_model.model.score.weight"
"""What PEFT calls the head of a sequence classifier in an adapter's file."""


class Scorer(Policy):
    """s(q, o): a linear head on the state in which the model has read the whole conversation.

    That is the state which transformers' sequence classifiers score, of the conversation as the chat template renders
    it: at its last token that is no padding token. The head starts at zero, and with it all scores.

    Attributes:
        head: [1, D], without a bias, since scores are only compared.
        closing: the tokens between a completion's text and the scored state, end of turn first.
    """

    def __init__(self, model: Any, chat: ChatTemplate, say: Callable[[str], None]):
        super().__init__(model, say)
        width = self.base.get_output_embeddings().weight.shape[1]
        self.head = nn.Linear(width, 1, bias=False, dtype=self.score_dtype, device=self.device)
        nn.init.zeros_(self.head.weight)
        self.closing = _closing(chat, self.base.config)

    @property
    def heads(self) -> list[nn.Parameter]:
        """See Policy."""
        return list(self.head.parameters())

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns s(q, o) at each row's last trained token and 0 elsewhere [B, T], and an entropy of 0 [B, T]."""
        batch = batch.to(self.device)
        state = self.hidden(closed(batch, self.closing))
        score = self.head(state.to(self.head.weight.dtype))[:, 0]
        blank = torch.zeros(batch.mask.shape, dtype=score.dtype, device=score.device)
        return torch.where(ops.last(batch.mask), score[:, None], blank), blank

    def save_pretrained(self, folder: Path) -> None:
        """Writes a sequence classifier of one label: PEFT's adapter for one, or the whole model where all weights are
        trained."""
        if not has_adapter(self.model):
            classifier(self).save_pretrained(folder)
            return
        super().save_pretrained(folder)
        save_file({**load_file(folder / WEIGHTS), HEAD: self.head.weight.detach().cpu()}, folder / WEIGHTS)
        settings = copy.deepcopy(self.model.peft_config[POLICY])
        settings.task_type, settings.modules_to_save, settings.inference_mode = "SEQ_CLS", ["score"], True
        settings.save_pretrained(str(folder))

    def take(self, tensors: dict[str, Tensor]) -> None:
        """See Policy."""
        name = HEAD if HEAD in tensors else "score.weight"
        with torch.no_grad():
            self.head.weight.copy_(tensors[name])
        super().take({key: tensor for key, tensor in tensors.items() if key != name})


def closed(batch: Batch, closing: list[int]) -> Batch:
    """Returns a batch whose rows are whole conversations: the completions without their end of turn, `closing`, and one
    token behind it that is trained, so that the state before it is the one that has read all.

    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=1, length=2, holes=False)
    >>> batch = batch.replace(completion_ids=torch.tensor([[7, 2]]))
    >>> closed(batch, [2, 9]).completion_ids, closed(batch, [2, 9]).mask
    (tensor([[7, 2, 9, 0]]), tensor([[False, False, False,  True]]))
    """
    kept = batch.attention.sum(1) - batch.finished.long()
    width = int(kept.max()) + len(closing) + 1
    place = torch.arange(width, device=kept.device)
    ids = torch.zeros(len(batch), width, dtype=torch.long, device=kept.device)
    shared = min(width, batch.completion_ids.shape[1])
    ids[:, :shared] = batch.completion_ids[:, :shared]
    ids = torch.where(place < kept[:, None], ids, 0)
    for offset, token in enumerate(closing):
        ids[torch.arange(len(batch)), kept + offset] = token
    ends = kept[:, None] + len(closing)
    return Batch(
        prompt_ids=batch.prompt_ids,
        prompt_mask=batch.prompt_mask,
        completion_ids=ids,
        attention=place <= ends,
        mask=place == ends,
        group=batch.group,
        finished=batch.finished,
        reward=batch.reward,
    )


def classifier(scorer: Scorer) -> Any:
    """Returns the model as transformers' sequence classifier, its weights copied."""
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(scorer.base.config)
    config.num_labels = 1
    model = AutoModelForSequenceClassification.from_config(config, dtype=scorer.base.dtype)
    model.base_model.load_state_dict(scorer.decoder.state_dict())
    model.score.weight.data = scorer.head.weight.detach().to(scorer.base.dtype).clone()
    return model


def _closing(chat: ChatTemplate, config: Any) -> list[int]:
    """Returns the end of turn and what the template writes behind it, less what a classifier takes for padding."""
    tokenizer = chat.tokenizer
    known = (config.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    padding = next((token for token in known if token is not None), None)
    tokens = chat.closing()
    while tokens and tokens[-1] == padding:
        tokens = tokens[:-1]
    return tokens
