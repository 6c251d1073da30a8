"""A path of our own through Llama-like models: flat tokens without padding, each prompt once, a backward by hand."""

from rlft.models.native.decode import NativeDecoder
from rlft.models.native.model import Native, native_model
from rlft.models.native.weights import read_head

__all__ = ["Native", "NativeDecoder", "native_model", "read_head"]
