"""The server protocol, against a small server of our own: what it is asked, and what it may get wrong."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import NumberChat, randomise, tiny_model, with_adapter

from rlft.base import Processes, RunError, UserError
from rlft.models.load import POLICY, REFERENCE
from rlft.models.vllm.request import Request
from rlft.models.vllm.server import Client, connect, save_adapter

REQUESTS = [Request([40 + i], {"n": 2, "temperature": 1.0}) for i in range(12)]


class Served(ThreadingHTTPServer):
    """Answers as vLLM does. `choice` makes the i-th completion of a prompt; `log` is what was asked, `adapters` what
    is loaded, by name, with the weights that lay in the folder then."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.log: list[tuple[str, Any]] = []
        self.adapters: dict[str, Any] = {}
        self.raw = False

    def choice(self, body: dict[str, Any], index: int) -> dict[str, Any]:
        logp = -0.5 if self.raw or "top_k" not in body else 0.0
        return {"index": index, "token_ids": [body["prompt"][0], index], "logprobs": {"token_logprobs": [logp, -1.5]}}


class Handler(BaseHTTPRequestHandler):
    server: Served

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        models = [{"id": "base", "max_model_len": 99}, {"id": "other"}]
        self._answer({"data": models} if self.path == "/v1/models" else None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.log.append((self.path, body))
        if self.path == "/v1/load_lora_adapter":
            self.server.adapters[body["lora_name"]] = sorted(p.name for p in Path(body["lora_path"]).iterdir())
            self._answer("Success: loaded")
        elif self.path == "/v1/unload_lora_adapter":
            del self.server.adapters[body["lora_name"]]
            self._answer("Success: removed")
        elif body["model"] in ("base", *self.server.adapters):
            rows = [self.server.choice(body, i) for i in range(body.get("n", 1))]
            self._answer({"choices": rows[::-1]})
        else:
            self._answer(None)

    def _answer(self, what: Any) -> None:
        text = what if isinstance(what, str) else json.dumps(what or {"error": {"message": "no such model"}})
        self.send_response(200 if what else 404)
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def server() -> Iterator[Served]:
    served = Served()
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def reach(
    url: str, model: Any = None, served: str | None = None, folder: Path | None = None, timeout: float = 5
) -> Any:
    said: list[str] = []
    setting: Any = SimpleNamespace(
        policy=SimpleNamespace(model=model, base=SimpleNamespace()), loaded=SimpleNamespace(chat=NumberNumbers()),
        processes=Processes(), say=said.append,
    )  # fmt: skip
    return connect(setting, url, model=served, adapter_dir=None if folder is None else str(folder), timeout=timeout)


class NumberNumbers(NumberChat):
    """Takes any text for the number 1."""

    def prompt(self, messages: Any) -> list[int]:
        return [1]


def test_an_adapter_is_loaded_under_a_new_name_at_every_call_and_the_old_one_unloaded(
    server: Served, tmp_path: Path
) -> None:
    engine = reach(server.url + "/v1/", with_adapter(tiny_model(dtype=torch.float32)), folder=tmp_path)
    assert engine.max_model_len == 99
    server.log.clear()
    names = []
    for _ in range(3):
        engine.hold(reference=False)
        names.append(*server.adapters)
        assert engine.draw(REQUESTS)[3] == [([43, 0], [-0.5, -1.5]), ([43, 1], [-0.5, -1.5])]
        assert {body["model"] for path, body in server.log if path == "/v1/completions"} == {names[-1]}
        server.log.clear()
    assert len(set(names)) == 3
    assert len(list(tmp_path.glob("*/*"))) == 1, "the folders of unloaded adapters are removed"
    engine.hold(reference=True)  # without the adapter: the base model
    engine.draw(REQUESTS)
    assert {body["model"] for _, body in server.log} == {"base"}
    engine.close()
    assert not server.adapters and not list(tmp_path.iterdir())


def test_a_request_is_sent_as_it_is_with_token_ids_in_and_out(server: Served, tmp_path: Path) -> None:
    engine = reach(server.url, folder=tmp_path, served="base")
    server.log.clear()
    engine.draw(REQUESTS[:1])
    expected = {"model": "base", "prompt": [40], "return_token_ids": True, "n": 2, "temperature": 1.0}
    assert server.log == [("/v1/completions", expected)]


def test_the_frozen_adapter_of_the_reference_is_loaded_once(server: Served, tmp_path: Path) -> None:
    model = with_adapter(tiny_model(dtype=torch.float32))
    model.add_adapter(REFERENCE, model.peft_config[POLICY])
    randomise(model, REFERENCE, seed=5)
    engine = reach(server.url, model, folder=tmp_path)
    for reference in (True, False, True, False):
        engine.hold(reference)
    loaded = [body["lora_name"] for path, body in server.log if path == "/v1/load_lora_adapter"]
    assert len(loaded) == 3 and len(server.adapters) == 2
    assert all({"adapter_config.json", "adapter_model.safetensors"} <= set(files) for files in server.adapters.values())


@pytest.mark.parametrize("adapter", [POLICY, REFERENCE])
def test_a_saved_adapter_is_that_adapter_and_anyone_may_read_it(adapter: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = with_adapter(tiny_model(dtype=torch.float32))
    model.add_adapter(REFERENCE, model.peft_config[POLICY])
    randomise(model, REFERENCE, seed=5)
    folder = save_adapter(model, adapter, tmp_path / "one")
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B"
    assert torch.equal(load_file(folder / "adapter_model.safetensors")[f"{name}.weight"], dict(
        model.named_parameters()
    )[f"{name}.{adapter}.weight"])  # fmt: skip
    assert {oct(p.stat().st_mode)[-3:] for p in folder.iterdir() if p.is_file()} == {"644"}
    assert oct(folder.stat().st_mode)[-3:] == "755"


def test_raw_log_probabilities_are_found_out_before_the_run(server: Served) -> None:
    server.raw = True
    with pytest.raises(UserError, match="--logprobs-mode processed_logprobs"):
        reach(server.url)


def test_a_server_that_returns_no_token_ids_is_refused(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Served, "choice", lambda self, body, i: {"index": i, "text": "x", "logprobs": None})
    with pytest.raises(UserError, match="return_token_ids"):
        reach(server.url)


def test_a_server_that_is_not_there_or_serves_another_model(server: Served) -> None:
    with pytest.raises(UserError, match=r"rollout\.served_model=mine: the server has base, other"):
        reach(server.url, served="mine")
    with pytest.raises(UserError, match=r"rollout\.url=http://127\.0\.0\.1:1: GET /v1/models: .*vllm serve"):
        reach("http://127.0.0.1:1")


def test_what_the_server_says_is_passed_on(server: Served) -> None:
    with pytest.raises(RunError, match=r"POST /v1/completions was answered 404: .*no such model"):
        Client(server.url, 5).post("/v1/completions", {"model": "gone"})


def test_a_folder_that_is_not_there(server: Served, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rollout\.adapter_dir=.*nowhere"):
        reach(server.url, folder=tmp_path / "nowhere")
