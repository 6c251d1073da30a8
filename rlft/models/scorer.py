"""A reward model as a module: a batch in, a score for each completion out, in the place of log π."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlft import ops
from rlft.base import Batch, Trained
from rlft.models.adapter import has_adapter
from rlft.models.chat import ChatTemplate
from rlft.models.load import POLICY, Loaded
from rlft.models.policy import Policy

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the names that a classifier's weights have, in an adapter's file."""


class Scorer(Policy):
    """s(q, o): a linear head on the state in which the model has read the whole conversation.

    That is the state which transformers' sequence classifiers score, of the conversation as the chat template renders
    it: at its last token that is no padding token. The head starts at zero, and with it all scores.

    Attributes:
        head: [1, D], without a bias, since scores are only compared.
        closing: the tokens between a completion's text and the scored state, end of turn first.
        auto, task: the classifier it is saved as, by transformers' class and PEFT's task.
    """

    auto, task = "AutoModelForSequenceClassification", "SEQ_CLS"

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
        """Writes a classifier of one label: PEFT's adapter for one, or the whole model where all weights are
        trained."""
        if not has_adapter(self.model):
            self.classifier().save_pretrained(folder)
            return
        super().save_pretrained(folder)
        head = {f"{PREFIX}{name}": tensor for name, tensor in self.head_tensors().items()}
        save_file({**load_file(folder / WEIGHTS), **head}, folder / WEIGHTS)
        settings = copy.deepcopy(self.model.peft_config[POLICY])
        settings.task_type, settings.modules_to_save, settings.inference_mode = self.task, ["score"], True
        settings.save_pretrained(str(folder))

    def head_tensors(self) -> dict[str, Tensor]:
        """Returns the head's weights by the names that transformers' classifier has for them."""
        return {"score.weight": self.head.weight.detach().cpu()}

    def classifier(self) -> Any:
        """Returns the model as transformers' classifier, its weights copied."""
        import transformers

        config = copy.deepcopy(self.base.config)
        config.num_labels = 1
        model = getattr(transformers, self.auto).from_config(config, dtype=self.base.dtype)
        model.base_model.load_state_dict(self.decoder.state_dict())
        tensors = {name: tensor.to(self.base.dtype) for name, tensor in self.head_tensors().items()}
        model.load_state_dict(tensors, strict=False)
        return model

    def take(self, tensors: dict[str, Tensor]) -> None:
        """See Policy."""
        heads = {key: key.removeprefix(PREFIX) for key in tensors if key.removeprefix(PREFIX).startswith("score.")}
        with torch.no_grad():
            self.head.weight.copy_(next(tensors[key] for key, name in heads.items() if name == "score.weight"))
        super().take({key: tensor for key, tensor in tensors.items() if key not in heads})


class TokenScorer(Scorer):
    """A score of each token: a linear head on the state in which the model has read it. The completion's is their mean.

    That is what transformers' token classifiers give each token, with a bias of 0.
    """

    auto, task = "AutoModelForTokenClassification", "TOKEN_CLS"

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the score of each trained token and 0 elsewhere [B, T], and an entropy of 0 [B, T]."""
        batch = batch.to(self.device)
        state = self.hidden(read(batch))
        blank = torch.zeros(batch.mask.shape, dtype=self.head.weight.dtype, device=state.device)
        score = self.head(state.to(self.head.weight.dtype))[:, 0]
        return blank.masked_scatter(batch.mask, score), blank

    def whole(self, logp: Tensor, mask: Tensor) -> Tensor:
        """Returns the mean of the tokens' scores [B]."""
        return ops.row_mean(logp, mask)

    def head_tensors(self) -> dict[str, Tensor]:
        """See Scorer."""
        tensors = super().head_tensors()
        return {**tensors, "score.bias": torch.zeros_like(tensors["score.weight"][:, 0])}


def read(batch: Batch) -> Batch:
    """Returns a batch in which the token behind each trained one is trained, so that the state before that has read it.

    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=1, length=2, holes=False)
    >>> read(batch).mask, read(batch).completion_ids.shape
    (tensor([[False,  True,  True]]), torch.Size([1, 3]))
    """
    none = torch.zeros(len(batch), 1, dtype=torch.long, device=batch.mask.device)
    return _reading(
        batch,
        completion_ids=torch.cat([batch.completion_ids, none], 1),
        attention=torch.cat([none == 0, batch.attention], 1),
        mask=torch.cat([none > 0, batch.mask], 1),
    )


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
    return _reading(batch, completion_ids=ids, attention=place <= ends, mask=place == ends)


def _reading(batch: Batch, **completions: Tensor) -> Batch:
    """Returns the batch with other completions, and without what it knew of its own."""
    return Batch(
        prompt_ids=batch.prompt_ids,
        prompt_mask=batch.prompt_mask,
        group=batch.group,
        finished=batch.finished,
        reward=batch.reward,
        **completions,
    )


def _closing(chat: ChatTemplate, config: Any) -> list[int]:
    """Returns the end of turn and what the template writes behind it, less what a classifier takes for padding."""
    tokenizer = chat.tokenizer
    known = (config.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    padding = next((token for token in known if token is not None), None)
    tokens = chat.closing()
    while tokens and tokens[-1] == padding:
        tokens = tokens[:-1]
    return tokens


MODULES: dict[Trained, Callable[[Loaded, Callable[[str], None]], Policy]] = {
    "log_probs": lambda loaded, say: Policy(loaded.model, say),
    "scores": lambda loaded, say: Scorer(loaded.model, loaded.chat, say),
    "token_scores": lambda loaded, say: TokenScorer(loaded.model, loaded.chat, say),
}
"""What a run makes of its model, by what the algorithm trains."""
