"""What all data sources share: where the questions come from, the split, the limits and the position."""

import re
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from rlft.base import Context, Curriculum, DataSource, Group, Pool, Query, RunError, UserError, question_id
from rlft.data.curriculum import NoCurriculum
from rlft.data.errors import did_you_mean, expect_choice
from rlft.data.examples import Example, parse
from rlft.data.files import Row, read_file, read_hub
from rlft.data.formats import FORMATS, UNSUPPORTED, describe, detect
from rlft.data.split import is_held_out, is_validation
from rlft.data.tasks import generate


@dataclass(kw_only=True)
class Source(DataSource):
    """Questions of a reasoning-gym task, a file or a hub dataset; exactly one of `task`, `train_file`, `hub_id`.

    Attributes:
        task, task_settings, task_size: a reasoning-gym dataset, its difficulty settings, and entries to generate.
        task_levels: levels of the task's own curriculum that the entries are spread over; 1 goes by `task_settings`
            alone, which also override what a level would set.
        train_file: a json, jsonl or parquet file.
        hub_id, hub_config, hub_split: a dataset that `datasets.load_dataset` knows (a local folder too).
        eval_file: questions for evaluation in place of a held-out share; rows with the same questions are not trained.
            Where nothing is to be trained, it may stand alone.
        format: what the rows are; "auto" goes by the columns of the first one.
        columns: which column is which, e.g. {question: Body+Question, answer: Answer}.
        question_pattern: a regular expression; only questions in which it is found are taken.
        prompt: the user turn, with {question} in it.
        system: a system turn that goes before conversations that have none.
        held_out_share: of the questions, kept for evaluation, by hash of the question; 1 leaves none to train on.
        validation_share: of the questions, kept from training too, for choosing settings; next to the held-out share.
        evaluate_on: the questions that accuracy is measured on: those held out, or those of the validation share.
        shuffle: a new order for every epoch, drawn from the seed; otherwise the order of the file.
        max_prompt_tokens, max_completion_tokens: limits, in tokens.
        over_long: what becomes of rows past a limit: they are dropped and counted, or refused. None is ever cut.
    """

    kind: ClassVar[str]

    task: str | None = None
    task_settings: dict[str, Any] = field(default_factory=dict)
    task_size: int = 10_000
    task_levels: int = 1
    train_file: str | None = None
    hub_id: str | None = None
    hub_config: str | None = None
    hub_split: str = "train"
    eval_file: str | None = None
    format: str = "auto"
    columns: dict[str, str] = field(default_factory=dict)
    question_pattern: str | None = None
    prompt: str = "{question}"
    system: str | None = None
    held_out_share: float = 0.05
    validation_share: float = 0.0
    evaluate_on: Literal["held_out", "validation"] = "held_out"
    shuffle: bool = True
    max_prompt_tokens: int = 512
    max_completion_tokens: int = 512
    over_long: Literal["drop", "refuse"] = "drop"

    def __post_init__(self) -> None:
        self.sampled_tokens = self.prefilled_tokens = 0
        self.position = 0
        self._context: Context | None = None
        self._curriculum: Curriculum = NoCurriculum()
        self._held_rows: list[tuple[Example, Query]] = []

    @property
    def name(self) -> str:
        """E.g. "online · chain_sum"."""
        return f"{self.kind} · {self._origin or '(no data)'}"

    @property
    def asks(self) -> str:
        """E.g. "test.jsonl"."""
        return Path(self.eval_file).name if self.eval_file is not None else self._origin

    @property
    def _origin(self) -> str:
        return self.task or self.hub_id or Path(self.train_file or "").name

    @property
    def offers(self) -> frozenset[str]:
        """Rows in any order, and levels where the task has them; whatever is wanted where there is nothing to train on,
        since an evaluation draws nothing."""
        levels = not self._origin or (self.task is not None and self.task_levels > 1)
        return frozenset({"order", "levels"} if levels else {"order"})

    def check(self, training: bool = True) -> None:
        """Checks the settings alone, before anything is loaded. Without `training` an `eval_file` is enough. Raises
        UserError."""
        given = [key for key in ("task", "train_file", "hub_id") if getattr(self, key) is not None]
        if len(given) != 1 and (given or training or self.eval_file is None):
            found = "none is given" if not given else f"{' and '.join(given)} are given"
            raise UserError(
                f"data: exactly one of task, train_file and hub_id is expected; {found}. Type e.g. "
                "data.train_file=PATH, data.task=chain_sum or data.hub_id=openai/gsm8k "
                "(and data.KEY=null for a key that the recipe sets)"
            )
        expect_choice("format", self.format, ["auto", *(name for name in FORMATS if name not in UNSUPPORTED)])
        expect_choice("over_long", self.over_long, ["drop", "refuse"])
        expect_choice("evaluate_on", self.evaluate_on, ["held_out", "validation"])
        if "{question}" not in self.prompt:
            raise UserError(f"data.prompt={self.prompt!r}: expected a text with {{question}} in it")
        try:
            re.compile(self.question_pattern or "")
        except re.error as error:
            found = f"data.question_pattern={self.question_pattern!r}"
            raise UserError(f"{found}: not a regular expression: {error}") from error
        if not 0 <= self.held_out_share <= 1:
            raise UserError(f"data.held_out_share={self.held_out_share}: expected a share from 0 to 1")
        share = self.validation_share
        if share < 0 or (share and share + self.held_out_share >= 1):
            raise UserError(
                f"data.validation_share={share}: expected a share of at least 0 that leaves some of "
                f"the questions to train on (data.held_out_share={self.held_out_share})"
            )
        if self.evaluate_on == "validation" and not share:
            raise UserError("data.evaluate_on=validation needs some: type e.g. data.validation_share=0.05")
        for key in ("task_size", "task_levels", "max_prompt_tokens", "max_completion_tokens"):
            if getattr(self, key) < 1:
                raise UserError(f"data.{key}={getattr(self, key)}: expected a whole number of at least 1")

    def bind(self, context: Context) -> None:
        """Reads the rows, splits them by question, checks lengths, and makes what `next` draws from."""
        self.check(context.training)
        self._context = context
        self._curriculum = context.curriculum or self._curriculum
        examples = self._matching(self._load()) if self._origin else []
        train, held = self._validated(*self._split(examples))
        self._held_rows = kept_held = self._fitting(held)
        pairs = self._fitting(train)
        dropped = len(train) - len(pairs) + len(held) - len(kept_held)
        if dropped:
            limit = self.max_prompt_tokens
            context.say(f"data: {dropped} rows dropped, their prompt is over data.max_prompt_tokens={limit}")
        if not context.training:
            return
        self._prepare(context, pairs)
        if self._size() == 0:
            raise UserError(f"{self.name}: no row is left to train on; see the counts above")
        context.say(f"data: {self._size()} rows to draw from, {len(self.held_out())} questions held out")
        pool = Pool(self._asked(), context.seed, self.shuffle, self._measure, context.say)
        self._curriculum.bind(pool)

    @property
    def rows(self) -> int:
        """The number of rows in an epoch, once the data is bound."""
        return self._size()

    def observe(self, groups: list[Group]) -> None:
        """Hands the groups on to the curriculum."""
        self._curriculum.observe(groups)

    def metrics(self) -> dict[str, float | None]:
        """Returns what the curriculum says of the latest draw, as curriculum/NAME."""
        return {f"curriculum/{name}": value for name, value in self._curriculum.metrics().items()}

    def held_out(self) -> list[Query]:
        """Returns the questions kept for evaluation, once each, ordered by their ids: a prefix is a fair sample."""
        queries = {query.id: query for _, query in self._held_rows}
        return [queries[key] for key in sorted(queries)]

    def state_dict(self) -> dict[str, Any]:
        """Returns the number of rows drawn so far, and what the curriculum has learnt."""
        return {"position": self.position, "curriculum": self._curriculum.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on after that many rows."""
        self.position = state["position"]
        if "curriculum" in state:  # a checkpoint from before there were any has none
            self._curriculum.load_state_dict(state["curriculum"])

    @abstractmethod
    def _prepare(self, context: Context, rows: list[tuple[Example, Query]]) -> None:
        """Makes the rows that are drawn from, out of the training examples and their queries."""

    @abstractmethod
    def _asked(self) -> list[Query]:
        """Returns the query of each row."""

    def _size(self) -> int:
        return len(self._asked())

    def _measure(self, queries: list[Query], count: int) -> list[float]:
        """Returns π_ref's pass rates, where the source offers that to a curriculum (see `Pool`)."""
        raise RunError(f"{self.name} measures no pass rates: a curriculum has to say that it needs them")

    def _chosen(self, n: int) -> list[int]:
        """Returns the next n rows as the curriculum has them, without moving on."""
        self._bound()
        return self._curriculum.next(self.position, n)

    def _bound(self) -> Context:
        if self._context is None:
            raise RuntimeError("bind() comes before the first draw")
        return self._context

    def _too_long(self, example: Example, key: str, length: int) -> bool:
        """Whether a length is past the limit; refused there where rows may not be dropped."""
        limit = getattr(self, key)
        if length > limit and self.over_long == "refuse":
            raise UserError(
                f"{example.where}: {length} tokens, data.{key} is {limit}. Type data.{key}={length} to keep it, or "
                "data.over_long=drop"
            )
        return length > limit

    def _load(self) -> list[Example]:
        if self.task is not None:
            examples = generate(self.task, self.task_settings, self.task_size, self.task_levels)
            self._bound().say(f"data: {len(examples)} distinct questions in {self.task_size} entries of {self.task}")
            return [self._graded(example, example.metadata["entry"]["metadata"]) for example in examples]
        if self.train_file is not None:
            rows, name = read_file(self.train_file), self.train_file
        else:
            rows, name = read_hub(str(self.hub_id), self.hub_config, self.hub_split), str(self.hub_id)
        examples = self._read(rows, name, self.columns, self.format)
        return [self._graded(example, row.values) for example, row in zip(examples, rows, strict=True)]

    def _graded(self, example: Example, values: dict[str, Any]) -> Example:
        """Returns the example with those columns that the curriculum reads."""
        wanted = self._curriculum.columns
        for column in wanted:
            if column not in values:
                known = f"it has {', '.join(values)}.{did_you_mean(column, values)}"
                raise UserError(f"{example.where}: there is no column {column} for curriculum.column; {known}")
        columns = {"columns": {column: values[column] for column in wanted}} if wanted else {}
        return replace(example, metadata=example.metadata | columns)

    def _read(self, rows: list[Row], name: str, columns: dict[str, str], format: str) -> list[Example]:
        found = detect(rows, columns, format)
        override = "" if format != "auto" else "; to read it otherwise: data.format="
        self._bound().say(f"data: {name} has {len(rows)} rows, read as {found} ({describe(found)}{override})")
        return [parse(row, found, columns) for row in rows]

    def _matching(self, examples: list[Example]) -> list[Example]:
        if self.question_pattern is None:
            return examples
        kept = [example for example in examples if re.search(self.question_pattern, example.question)]
        self._bound().say(f"data: {len(kept)} questions match {self.question_pattern!r}")
        return kept

    def _split(self, examples: list[Example]) -> tuple[list[Example], list[Example]]:
        """Returns the examples to train on and those to hold out."""
        ids = [question_id(example.question) for example in examples]
        if self.eval_file is None:
            away = [is_held_out(key, self.held_out_share) for key in ids]
            return (
                [example for example, out in zip(examples, away, strict=True) if not out],
                [example for example, out in zip(examples, away, strict=True) if out],
            )
        say = self._bound().say
        rows = read_file(self.eval_file)
        # The evaluation file may be of another format: the mapping is for it only where it has those columns.
        sources = {part.strip() for value in self.columns.values() for part in (value, *value.split("+"))}
        columns = self.columns if sources & set(rows[0].values) else {}
        held = self._read(rows, self.eval_file, columns, "auto" if self._origin else self.format)
        kept = {question_id(example.question) for example in held}
        train = [example for example, key in zip(examples, ids, strict=True) if key not in kept]
        if len(train) < len(examples):
            say(f"data: {len(examples) - len(train)} rows dropped, their question is in {self.eval_file}")
        return train, held

    def _validated(self, train: list[Example], held: list[Example]) -> tuple[list[Example], list[Example]]:
        """Returns the examples to train on without those of the validation share, and those to evaluate on."""
        if not self.validation_share:
            return train, held
        start = 0.0 if self.eval_file else self.held_out_share
        kept = [is_validation(question_id(example.question), start, self.validation_share) for example in train]
        validation = [example for example, away in zip(train, kept, strict=True) if away]
        rest = [example for example, away in zip(train, kept, strict=True) if not away]
        return rest, validation if self.evaluate_on == "validation" else held

    def _fitting(self, examples: list[Example]) -> list[tuple[Example, Query]]:
        pairs = [(example, self._query(example)) for example in examples]
        chat = self._bound().chat
        return [
            (example, query)
            for example, query in pairs
            if not self._too_long(example, "max_prompt_tokens", len(chat.prompt(query.messages)))
        ]

    def _query(self, example: Example) -> Query:
        *before, last = example.turns
        turn = {"role": "user", "content": self.prompt.replace("{question}", last["content"])}
        if self.system is not None and not any(message["role"] == "system" for message in before):
            before.insert(0, {"role": "system", "content": self.system})
        metadata = {"row": example.number, **example.metadata}
        return Query(question_id(example.question), (*before, turn), example.answer, metadata)


@dataclass(kw_only=True)
class Listed(Source):
    """A source whose groups are all there before training starts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._groups: list[Group] = []

    def next(self, n: int) -> list[Group]:
        """Returns the next n groups, as the curriculum has them."""
        rows = self._chosen(n)
        self.position += n
        return [self._groups[row] for row in rows]

    def _asked(self) -> list[Query]:
        return [group.query for group in self._groups]
