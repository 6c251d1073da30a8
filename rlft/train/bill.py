"""What a run has cost so far."""

from dataclasses import asdict, dataclass
from typing import Any

from rlft.base import Batch


@dataclass
class Bill:
    """Running totals; they go into summary.json and into every checkpoint.

    FLOPs are counted by the usual rule of two operations per weight and token for a forward pass, two more for the
    gradient of the activations, and two more for that of the weights where all of them are trained.
    """

    generated_tokens: int = 0
    trained_tokens: int = 0
    prompts: int = 0
    reward_calls: int = 0
    flops: float = 0.0
    seconds: float = 0.0

    def batch(self, batch: Batch, epochs: int, passes: int, weights: int, all_trained: bool) -> None:
        """Adds a batch's training: `epochs` passes forward and backward, and `passes` forward for the roles."""
        positions = int(batch.attention.sum()) + int(batch.prompt_mask.sum())
        self.trained_tokens += int(batch.mask.sum()) * epochs
        self.prompts += int(batch.prompt_ids.shape[0])
        self.reward_calls += len(batch)
        self.flops += weights * positions * ((6 if all_trained else 4) * epochs + 2 * passes)

    def sampling(self, generated: int, prompt_tokens: int, weights: int) -> None:
        """Brings the generated tokens up to a total and adds the FLOPs of what is new, prompts included."""
        self.flops += 2.0 * weights * (generated - self.generated_tokens + prompt_tokens)
        self.generated_tokens = generated

    def as_dict(self) -> dict[str, Any]:
        """Returns the totals under the names of summary.json."""
        return asdict(self)
