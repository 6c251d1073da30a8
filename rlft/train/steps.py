"""Where the steps of a completion end among its tokens: rewards speak of text, the policy of tokens."""

from bisect import bisect_left
from statistics import fmean

from rlft.base import Chat, Completion, Reward


def step_rewards(reward: Reward, completion: Completion, chat: Chat) -> dict[int, float]:
    """Returns the reward of each step by the index of its last token.

    That token is the first with which the decoded text holds the step whole: a character of several bytes may be spread
    over several tokens, and a token may reach into the next step. Steps that end in the same token are one, with the
    mean of their rewards. A step that ends with the text ends in the completion's last token.
    """
    tokens, text = list(completion.token_ids), completion.text
    if not tokens:
        return {}
    last = len(tokens) - 1
    found: dict[int, list[float]] = {}
    for end, value in reward.steps:
        step = text[:end]
        index = (
            last
            if end >= len(text)
            else bisect_left(range(last), True, key=lambda t, step=step: chat.text(tokens[: t + 1]).startswith(step))
        )
        found.setdefault(index, []).append(value)
    return {index: fmean(values) for index, values in found.items()}
