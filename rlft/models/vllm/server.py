"""A vLLM server, handed the adapter as a folder under a new name."""

import json
import shutil
import tempfile
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.base import Processes, RunError, Sampling, UserError
from rlft.models.load import POLICY, REFERENCE
from rlft.models.rollout import Setting
from rlft.models.vllm.request import Drawn, Request, make_request

AT_ONCE = 256  # requests; the server batches what it has room for
WITHIN = 1e-3  # nats: the log-probability of a token that no other could have been drawn for is 0


@dataclass(frozen=True)
class Client:
    """JSON over HTTP with one server.

    Attributes:
        url: its address, without a path. timeout: seconds a request may take.
    """

    url: str
    timeout: float

    def get(self, path: str) -> Any:
        """Returns the answer to a GET. Raises RunError naming the address and what the server said."""
        return self._answer(urllib.request.Request(self.url + path), f"GET {path}")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Returns the answer to a POST. Raises RunError likewise."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        return self._answer(request, f"POST {path}")

    def _answer(self, request: urllib.request.Request, what: str) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                text = response.read().decode()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace").strip()
            raise RunError(f"rollout.url={self.url}: {what} was answered {error.code}: {said[:500]}") from error
        except OSError as error:
            raise RunError(f"rollout.url={self.url}: {what}: {getattr(error, 'reason', error)}") from error
        try:
            return json.loads(text)
        except ValueError:
            return text  # loading an adapter is answered in words


class ServerEngine:
    """A server that has the base model, and an adapter of ours after another (see `rlft.models.vllm.sampler.Engine`).

    The first process saves the adapter and has it loaded; every process asks for completions of its own queries.
    """

    def __init__(self, client: Client, served: str, max_model_len: int, model: Any, folder: Path, processes: Processes):
        self.client, self.served, self.max_model_len = client, served, max_model_len
        self.model, self.folder, self.processes = model, folder, processes
        self._run = uuid.uuid4().hex[:8]  # a server may have adapters of other runs
        self._count = 0
        self._loaded: dict[str, str] = {}  # peft's name of an adapter → the server's
        self._current = served

    def hold(self, reference: bool) -> None:
        """See Engine. An adapter of the policy is loaded under a new name, so that no key or value of the old one is
        taken for its own, and the old one is unloaded. The reference is the base model, or its frozen adapter, loaded
        once."""
        adapter = REFERENCE if reference else POLICY
        name = ""
        if self.processes.first:
            name = self._hand_over(adapter)
        self._current = self.processes.broadcast(name)

    def draw(self, requests: list[Request]) -> list[list[Drawn]]:
        """See Engine."""
        with ThreadPoolExecutor(max(1, min(AT_ONCE, len(requests)))) as pool:
            return list(pool.map(lambda request: complete(self.client, self._current, request), requests))

    def close(self) -> None:
        """See Engine."""
        if not self.processes.first:
            return
        try:
            for adapter in list(self._loaded):
                self._unload(adapter)
        except RunError:
            pass  # the server is gone: there is nothing to take back
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hand_over(self, adapter: str) -> str:
        if adapter not in self.model.peft_config:
            return self.served  # π_ref is the base model
        if adapter == REFERENCE and adapter in self._loaded:
            return self._loaded[adapter]
        self._count += 1
        name = f"rlft-{self._run}-{self._count}"
        path = save_adapter(self.model, adapter, self.folder / name)
        self.client.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})
        if adapter in self._loaded:
            self._unload(adapter)
        self._loaded[adapter] = name
        return name

    def _unload(self, adapter: str) -> None:
        name = self._loaded.pop(adapter)
        self.client.post("/v1/unload_lora_adapter", {"lora_name": name})
        shutil.rmtree(self.folder / name, ignore_errors=True)


def save_adapter(model: Any, adapter: str, folder: Path) -> Path:
    """Writes an adapter in PEFT format for whoever runs the server to read; returns the folder it lies in."""
    model.save_pretrained(folder, selected_adapters=[adapter])
    path = folder if adapter == POLICY else folder / adapter  # peft puts all but "default" into a folder of its own
    for folder_or_file in (folder, path, *path.iterdir()):
        folder_or_file.chmod(0o755 if folder_or_file.is_dir() else 0o644)
    return path


def complete(client: Client, model: str, request: Request) -> list[Drawn]:
    """Returns the completions of one request, token ids in and out. Raises RunError if the server gives none."""
    body = {"model": model, "prompt": request.prompt, "return_token_ids": True, **request.settings}
    answer = client.post("/v1/completions", body)
    drawn: list[Drawn] = []
    for choice in sorted(answer["choices"], key=lambda choice: choice["index"]):
        ids, logps = choice.get("token_ids"), (choice.get("logprobs") or {}).get("token_logprobs")
        if not ids or logps is None or len(ids) != len(logps):
            raise RunError(
                f"rollout.url={client.url}: the server returns no token ids, or not a log-probability for each; it has "
                "to be a vLLM server that knows `return_token_ids`"
            )
        drawn.append((list(ids), list(logps)))
    return drawn


def connect(setting: Setting, url: str, *, model: str | None, adapter_dir: str | None, timeout: float) -> ServerEngine:
    """Returns the engine of a server that is found to do what is needed.

    Raises:
        UserError: it cannot be reached, does not serve the model that is named, or returns log-probabilities of another
            distribution than it draws from.
    """
    client = Client(url.rstrip("/").removesuffix("/v1"), timeout)
    try:
        listed = client.get("/v1/models")["data"]
        served = next((m for m in listed if model in (None, m["id"])), None)
        if served is None:
            raise UserError(f"rollout.served_model={model}: the server has {', '.join(m['id'] for m in listed)}")
        only = make_request(setting.loaded.chat.prompt(({"role": "user", "content": "q"},)), 1, _PROBE, (), 0)
        (_, logps) = complete(client, served["id"], only)[0]
    except RunError as error:
        raise UserError(f"{error}; start it with `vllm serve`, as docs/vllm.md says") from error
    if abs(logps[0]) > WITHIN:
        raise UserError(
            f"rollout.url={url}: the server returns log-probabilities from before temperature and filters; start it "
            "with --logprobs-mode processed_logprobs"
        )
    folder = _make_folder(adapter_dir) if setting.processes.first else Path()
    setting.say(f"rollouts: vLLM at {client.url}, model {served['id']}")
    longest = served.get("max_model_len") or setting.policy.base.config.max_position_embeddings
    return ServerEngine(client, served["id"], int(longest), setting.policy.model, folder, setting.processes)


def _make_folder(parent: str | None) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="rlft-adapters-", dir=parent)).resolve()
    except OSError as error:
        raise UserError(f"rollout.adapter_dir={parent}: {error.strerror}; expected a folder that is there") from error
    folder.chmod(0o755)  # the server may be someone else
    return folder


_PROBE = Sampling(max_tokens=1, temperature=1.0, top_k=1)
"""Leaves one token to draw from: its log-probability is 0, and before the filter it was not."""
