"""The text itself: parsed within limits, and underlined where something is refused."""

import ast
from dataclasses import dataclass
from typing import NoReturn

from rlft.base import UserError

LONGEST, DEEPEST = 1000, 60  # characters, parts inside each other
ALLOWED = "there are numbers, names, + - * / **, comparisons and functions"


@dataclass(frozen=True)
class Source:
    """An expression as it was typed, in one line.

    Attributes:
        text: the expression. key: where it stands, for messages.
    """

    text: str
    key: str

    def parse(self) -> ast.expr:
        """Returns the expression. Raises UserError for what is none, or is too long or too deep."""
        if len(self.text) > LONGEST:
            raise UserError(f"{self.key}: at most {LONGEST} characters are read, these are {len(self.text)}")
        try:
            body = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            start = (error.offset or len(self.text) + 1) - 1  # 0 is the end
            self._say(start, max(start + 1, (error.end_offset or 0) - 1), error.msg)
        except ValueError as error:  # a NUL byte, half a surrogate pair
            raise UserError(f"{self.key}: {error}; {ALLOWED}") from None
        except (RecursionError, MemoryError):
            body = None
        if body is None or _depth(body) > DEEPEST:
            raise UserError(f"{self.key}: more than {DEEPEST} parts stand inside each other; {ALLOWED}")
        return body

    def refuse(self, node: ast.AST, why: str) -> NoReturn:
        """Raises UserError with the node underlined."""
        start = self._character(getattr(node, "col_offset", 0))
        self._say(start, self._character(getattr(node, "end_col_offset", None) or start + 1), why)

    def _character(self, byte: int) -> int:
        """The parser counts bytes."""
        return len(self.text.encode()[:byte].decode(errors="ignore"))

    def _say(self, start: int, end: int, why: str) -> NoReturn:
        underline = " " * start + "^" * max(1, min(end, len(self.text)) - start)
        raise UserError(f"{self.key}, column {start + 1}: {why}\n  {self.text}\n  {underline}")


def _depth(body: ast.AST) -> int:
    """Without recursion, which is what it is to prevent."""
    depth, level = 0, [body]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth
