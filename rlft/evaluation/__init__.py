"""What a result is worth: accuracies and their confidence intervals."""

from rlft.evaluation.intervals import Difference, paired_difference, wilson

__all__ = ["Difference", "paired_difference", "wilson"]
