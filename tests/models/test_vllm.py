"""vLLM rollouts without vLLM: what is asked of it, what is handed over, and what its answers become."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import END, NumberChat, tiny_model, with_adapter

from rlft.base import Completion, Processes, Query, Sampling, UserError
from rlft.models.adapter import merged
from rlft.models.load import POLICY
from rlft.models.rollout import VLLM, Setting
from rlft.models.vllm import engine as module
from rlft.models.vllm.engine import LocalEngine, checkpoint_weights, start
from rlft.models.vllm.request import Request, make_request, request_seed
from rlft.models.vllm.sampler import VLLMSampler

CHAT: Any = NumberChat()
QUERIES = [Query("a", ({"role": "user", "content": "5 6 7"},)), Query("b", ({"role": "user", "content": "8"},))]


def test_a_request_says_everything_a_server_would_else_decide_itself() -> None:
    sampling = Sampling(max_tokens=9, temperature=0.7, top_k=5, top_p=0.9, min_p=0.1)
    assert make_request([5, 6], 4, sampling, {7, 2}, 11) == Request(
        [5, 6],
        {
            "n": 4, "seed": 11, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.1, "max_tokens": 9,
            "stop_token_ids": [2, 7], "logprobs": 0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        },
    )  # fmt: skip
    assert make_request([5], 4, Sampling(9, temperature=0.0), {2}, 11).settings["n"] == 1


@given(st.integers(), st.text(), st.integers(0), st.text())
def test_a_seed_leaves_room_for_those_of_later_rows_in_64_signed_bits(
    seed: int, purpose: str, step: int, query: str
) -> None:
    first = request_seed(seed, purpose, step, query)
    assert first == request_seed(seed, purpose, step, query)
    assert 0 <= first < 2**62


def test_a_seed_depends_on_everything_a_draw_depends_on() -> None:
    seeds = [(0, "train", 3, "a"), (1, "train", 3, "a"), (0, "x", 3, "a"), (0, "train", 4, "a"), (0, "train", 3, "b")]
    assert len({request_seed(*keys) for keys in seeds}) == len(seeds)


class Answers:
    """An engine that answers each prompt with its tokens repeated; it notes what it was asked."""

    def __init__(self) -> None:
        self.max_model_len, self.held, self.asked = 12, [], []

    def hold(self, reference: bool) -> None:
        self.held.append(reference)

    def draw(self, requests: list[Request]) -> Any:
        self.asked = requests
        return [[([*r.prompt, END][: 1 + i], [-0.5] * (1 + i)) for i in range(r.settings["n"])] for r in requests]

    def close(self) -> None:
        self.held.append("closed")


def sample(engine: Answers, count: int = 2, **changes: Any) -> Any:
    sampler = VLLMSampler(engine, CHAT, 0, "f", Processes())
    settings = {"temperature": 1.0, "max_tokens": 3, **changes}
    return sampler.sample(QUERIES, count, Sampling(**settings), purpose="train", step=3)


def test_rows_become_completions_in_order() -> None:
    engine = Answers()
    first, second = sample(engine)
    assert [first.query, second.query] == QUERIES and engine.held == [False]
    assert first.completions == (
        Completion((5,), "5", False, None, (-0.5,)),
        Completion((5, 6), "5 6", False, None, (-0.5, -0.5)),
    )
    assert second.completions[1] == Completion((8, END), f"8 {END}", True, None, (-0.5, -0.5))
    assert [r.settings["seed"] for r in engine.asked] == [request_seed(0, "train", 3, q.id) for q in QUERIES]
    assert [r.prompt for r in engine.asked] == [[5, 6, 7], [8]]


def test_a_greedy_answer_is_asked_for_once() -> None:
    engine = Answers()
    first, _ = sample(engine, count=3, temperature=0.0)
    assert [r.settings["n"] for r in engine.asked] == [1, 1]
    assert first.completions == (Completion((5,), "5", False, None, (-0.5,)),) * 3


def test_what_there_is_no_room_for_is_refused_and_not_cut() -> None:
    assert len(sample(Answers(), max_tokens=9)) == 2  # 3 + 9 is just what there is room for
    with pytest.raises(UserError, match=r"room for 12 tokens, and a prompt of 3 with a completion of 10 takes 13"):
        sample(Answers(), max_tokens=10)


def test_the_sampler_closes_its_engine_and_draws_otherwise_than_the_native_one() -> None:
    engine = Answers()
    sampler = VLLMSampler(engine, CHAT, 0, "f", Processes())
    sampler.close()
    assert engine.held == ["closed"] and sampler.fingerprint() != "f"


class FakeLLM:
    """What `LocalEngine` uses of vllm.LLM."""

    def __init__(self, **settings: Any):
        self.settings, self.log, self.tensors = settings, [], {}
        self.model_config = SimpleNamespace(max_model_len=512)
        core = SimpleNamespace(shutdown=lambda: self.log.append("shutdown"))
        self.llm_engine = SimpleNamespace(engine_core=core)

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in kwargs["weights_iterator"]}
        self.log.append(method)

    def reset_prefix_cache(self) -> None:
        self.log.append("reset")

    def generate(self, prompts: Any, settings: Any, use_tqdm: bool) -> Any:
        assert [p["prompt_token_ids"] for p in prompts] == [[5], [6]]

        def row(index: int) -> Any:
            logprobs = [{9: SimpleNamespace(logprob=-1.0 - index)}, {2: SimpleNamespace(logprob=-3.0)}]
            return SimpleNamespace(index=index, token_ids=(9, 2), logprobs=logprobs)

        return [SimpleNamespace(outputs=[row(1), row(0)]) for _ in settings]


@dataclass
class Parameters:
    """What `LocalEngine` uses of vllm.SamplingParams."""

    n: int
    detokenize: bool


@pytest.fixture
def model() -> Any:
    return with_adapter(tiny_model(), scale=0.3)


def test_the_weights_handed_over_are_the_merged_ones_by_their_checkpoint_names(model: Any) -> None:
    bare = dict(tiny_model().named_parameters())
    with checkpoint_weights(model, POLICY) as tensors:
        handed = {name: tensor.clone() for name, tensor in tensors}
    assert handed.keys() == bare.keys()
    ids = torch.tensor([[3, 5, 7, 9]])
    with torch.no_grad(), merged(model):
        expected = model(ids).logits
    other = tiny_model(seed=1)
    other.load_state_dict(handed, strict=False)
    with torch.no_grad():
        assert (other(ids).logits - expected).abs().max() < 1e-12
        assert (tiny_model()(ids).logits - expected).abs().max() > 0.1
    with checkpoint_weights(model, "reference") as tensors:  # there is no such adapter: π_ref is the bare model
        assert all(torch.equal(tensor, bare[name]) for name, tensor in tensors)


def test_the_policy_is_handed_over_at_every_call_and_the_reference_once(model: Any) -> None:
    llm = FakeLLM()
    engine = LocalEngine(llm, Parameters, model)
    assert engine.max_model_len == 512
    name = "model.layers.0.self_attn.q_proj.weight"
    seen = []
    for reference in (False, False, True, True, False):
        engine.hold(reference)
        seen.append(llm.tensors[name])
    assert llm.log == ["reload_weights", "reset"] * 4
    assert torch.equal(seen[0], seen[4]) and not torch.equal(seen[0], seen[2])
    with torch.no_grad():
        for parameter in (p for n, p in model.named_parameters() if "lora_B" in n):
            parameter.mul_(2)
    engine.hold(False)
    assert not torch.equal(llm.tensors[name], seen[4])
    engine.close()
    assert llm.log[-1] == "shutdown"


def test_what_vllm_gives_back_is_put_in_order(model: Any) -> None:
    requests = [Request([5], {"n": 2}), Request([6], {"n": 2})]
    drawn = LocalEngine(FakeLLM(), Parameters, model).draw(requests)
    assert drawn == [[([9, 2], [-1.0, -3.0]), ([9, 2], [-2.0, -3.0])]] * 2


def setting(model: Any, dtype: torch.dtype = torch.float32) -> Any:
    return SimpleNamespace(
        policy=SimpleNamespace(model=model), config=SimpleNamespace(revision=None), trust_remote_code=False,
        loaded=SimpleNamespace(source="folder", dtype=dtype, chat=CHAT), say=lambda _: None,
    )  # fmt: skip


def begin(model: Any, dtype: torch.dtype = torch.float32) -> Any:
    where: Setting = setting(model, dtype)
    return start(where, max_model_len=64, gpu_memory_utilization=0.3, enforce_eager=True)


def test_vllm_is_started_to_return_the_log_probabilities_it_draws_by(model: Any, monkeypatch: Any) -> None:
    fake = SimpleNamespace(LLM=FakeLLM, SamplingParams=Parameters)
    monkeypatch.setattr(module, "import_module", lambda name: fake)
    monkeypatch.setattr(module, "ENVIRONMENT", {})
    settings = begin(model).llm.settings
    assert settings["logprobs_mode"] == "processed_logprobs" and settings["dtype"] == "float32"
    assert settings["model"] == "folder" and settings["max_model_len"] == 64 and settings["enforce_eager"]
    with pytest.raises(UserError, match=r"model\.dtype=float64"):
        begin(model, torch.float64)

    def fails(**_: Any) -> None:
        raise ValueError("no room")

    fake.LLM = fails
    with pytest.raises(UserError, match=r"vLLM does not start: no room; .* rollout\.gpu_memory_utilization"):
        begin(model)


def test_an_adapter_that_cannot_be_merged_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "import_module", lambda name: pytest.fail("it was started"))
    other = with_adapter(tiny_model(), target_modules=["q_proj", "embed_tokens"])
    with pytest.raises(UserError, match="rollout=vllm merges the adapter"):
        begin(other)
    with pytest.raises(UserError, match="rollout=vllm merges"), checkpoint_weights(other, POLICY):
        pass


def test_without_vllm_the_message_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setattr(module.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'rlft\[vllm\]'.*rollout\.url"):
        VLLM().require()
    VLLM(url="http://localhost:8000").require()


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"url": "localhost:8000"}, "rollout.url"),
        ({"url": "file:///etc/passwd"}, "rollout.url"),
        ({"mismatch_cap": 0.5}, "rollout.mismatch_cap"),
        ({"timeout": 0.0}, "rollout.timeout"),
        ({"gpu_memory_utilization": 1.5}, "rollout.gpu_memory_utilization"),
        ({"max_model_len": 1}, "rollout.max_model_len"),
    ],
)
def test_settings_out_of_range(values: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        VLLM(**values)
