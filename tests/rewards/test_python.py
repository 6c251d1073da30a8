"""A user's function: what it returns, how it fails, and that it runs only if it is allowed."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlft.base import Reward, RunError, UserError
from rlft.rewards import PythonReward
from rlft.rewards.python import allow, check
from rlft.rewards.worker import Worker, WorkerError
from tests.rewards.conftest import group

Plugin = Callable[[str], str]

MOODY = """
import os, sys, time
def f(query, text):
    print("noise", flush=True)
    if text == "raise": raise KeyError("mine")
    if text == "hang": time.sleep(60)
    if text == "exit": sys.exit(3)
    if text == "die": os._exit(4)
    if text == "none": return None
    if text == "nan": return float("nan")
    return 1.0
"""


def scored(reward: PythonReward, *texts: str, answer: str | None = None) -> tuple[Reward, ...]:
    try:
        return reward.score([group(*texts, answer=answer)])[0].rewards
    finally:
        reward.close()


def test_a_number_is_the_reward_and_a_dict_its_parts(plugin: Plugin) -> None:
    source = 'def f(query, text):\n    return {"a": len(text), "b": 0.5} if text != query.answer else True\n'
    assert scored(PythonReward(function=plugin(source), timeout=30), "xyz", "gold", answer="gold") == (
        Reward(3.5, {"a": 3.0, "b": 0.5}),
        Reward(1.0, {"python": 1.0}),
    )


def test_failures_are_counted_apart_and_the_next_call_works(plugin: Plugin, capfd: pytest.CaptureFixture[str]) -> None:
    reward = PythonReward(function=plugin(MOODY), timeout=1.0)
    bad = ["raise", "hang", "exit", "die", "none", "nan"]
    rewards = scored(reward, *[text for name in bad for text in (name, "fine")])
    assert [r.value for r in rewards] == [0.0, 1.0] * len(bad)
    assert all(r.error is None for r in rewards[1::2])
    errors = [r.error or "" for r in rewards[0::2]]
    expected = ["KeyError: 'mine' (mine.py:5)", "no result after 1 s", "SystemExit: 3", "status 4", "None", "nan"]
    assert all(part in error for part, error in zip(expected, errors, strict=True)), errors
    assert "noise" not in capfd.readouterr().out


def test_a_failure_can_take_the_completion_out_of_training(plugin: Plugin) -> None:
    reward = PythonReward(function=plugin(MOODY), timeout=30, on_error="skip")
    try:
        first, second = reward.score([group("raise", "fine")])[0].completions
    finally:
        reward.close()
    assert first.trained == (False,) and second.trained is None


def test_a_failure_can_end_the_run(plugin: Plugin) -> None:
    with pytest.raises(RunError, match="query q: KeyError"):
        scored(PythonReward(function=plugin(MOODY), timeout=30, on_error="stop"), "raise")


def test_a_hanging_function_is_killed_with_all_it_started(plugin: Plugin, tmp_path: Path) -> None:
    source = f"""
import subprocess, time
def f(query, text):
    child = subprocess.Popen(["sleep", "60"])
    open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
    time.sleep(60)
"""
    assert scored(PythonReward(function=plugin(source), timeout=2.0), "a")[0].error == "no result after 2 s"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):  # whoever adopts it reaps it in its own time
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(pid, 9)
        pytest.fail("the grandchild lives")


def test_an_interrupted_call_leaves_no_reply_behind(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(plugin("def f(x):\n    return x\n"), 30.0)
    assert worker.call(1.0) == 1.0
    assert worker._connection is not None

    def interrupt(_: float) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(worker._connection, "poll", interrupt, raising=False)
        worker.call(2.0)
    assert worker.call(3.0) == 3.0
    worker.close()


def test_the_worker_imports_neither_torch_nor_rlft(plugin: Plugin) -> None:
    source = "import sys\ndef f(query, text):\n    return sum(name in sys.modules for name in ('torch', 'rlft'))\n"
    assert scored(PythonReward(function=plugin(source), timeout=30), "a")[0].value == 0.0


def test_a_dead_worker_is_replaced(plugin: Plugin) -> None:
    worker = Worker(plugin("def f(x):\n    return x\n"), 30.0)
    assert worker.call(1.0) == 1.0
    assert worker._process is not None
    worker._process.kill()
    worker._process.wait()
    assert worker.call(2.0) == 2.0
    worker.close()


def test_a_module_that_cannot_be_imported_is_the_user_s_mistake(plugin: Plugin) -> None:
    with pytest.raises(UserError, match="cannot be loaded: ModuleNotFoundError"):
        scored(PythonReward(function=plugin("import no_such_module_here\n")), "a")
    with pytest.raises(UserError, match="cannot be loaded: AttributeError"):
        scored(PythonReward(function=plugin("g = 1\n")), "a")


def test_nothing_is_imported_unless_it_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "evil.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(q, t): return 1.0\n")
    with pytest.raises(UserError, match=f"--plugin {path}"):
        PythonReward(function=f"{path}:f")
    with pytest.raises(UserError, match="--plugin os"):
        PythonReward(function="os:system")
    assert not (tmp_path / "ran").exists()


def test_an_allowed_file_is_imported_by_the_worker_alone(tmp_path: Path, plugin: Plugin) -> None:
    source = f"import os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ndef f(q, t): return 1.0\n"
    reward = PythonReward(function=plugin(source), timeout=30)
    assert not (tmp_path / "pid").exists()
    scored(reward, "a")
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_a_package_allows_its_modules_and_no_namesake(plugin: Plugin) -> None:
    plugin("")  # restores what is allowed when the test ends
    allow(["mypkg"])
    assert check("mypkg:f") == "mypkg:f" and check("mypkg.rewards.code:f") == "mypkg.rewards.code:f"
    for other in ("mypkg_evil:f", "mypkg2.mod:f", "my:f"):
        with pytest.raises(UserError, match="--plugin"):
            check(other)


def test_an_installed_module_is_called_by_name(plugin: Plugin) -> None:
    plugin("")
    allow(["operator"])
    worker = Worker(check("operator:sub"), 30.0)
    assert worker.call(5, 3) == 2.0
    with pytest.raises(WorkerError, match="TypeError"):
        worker.call(1)
    worker.close()


def test_relative_and_absolute_names_of_a_file_are_one(plugin: Plugin, tmp_path: Path) -> None:
    reference = plugin("")
    assert check(f"{tmp_path}/./sub/../mine.py:f") == reference
    with pytest.raises(UserError, match="no file"):
        check(f"{tmp_path}/other.py:f")


@pytest.mark.parametrize("function", ["f", "mod", ":f", "mod:", "mod:f()", "mod.py"])
def test_a_function_is_written_as_place_and_name(function: str) -> None:
    with pytest.raises(UserError, match=r"write pkg\.module:function"):
        check(function)
