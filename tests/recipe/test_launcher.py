"""Jobs through Hydra's launchers."""

import os
from pathlib import Path

import pytest

from rlft.base import RunError, UserError
from rlft.cli.options import launcher_words
from rlft.recipe.launcher import launch


def twice(number: int) -> tuple[int, int]:
    return 2 * number, os.getpid()


def refuse(number: int) -> int:
    raise ValueError(f"not {number}")


def test_one_after_the_other_in_this_process(tmp_path: Path) -> None:
    assert launch(twice, [1, 2, 3], [], tmp_path / "runs") == [(2 * n, os.getpid()) for n in (1, 2, 3)]
    assert not list((tmp_path / "runs").iterdir())  # the launcher leaves nothing among the runs


def test_side_by_side_in_others(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    results = launch(twice, [1, 2, 3], words, tmp_path)
    assert [value for value, _ in results] == [2, 4, 6]
    assert os.getpid() not in {process for _, process in results}


@pytest.mark.parametrize("word", ["hydra/launcher=slurm", "hydra.launcher.jobs=2"])
def test_a_launcher_or_a_setting_that_there_is_not(word: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pip install 'rlft\[joblib\]'") as error:
        launch(twice, [1], [word], tmp_path)
    assert word in str(error.value)


def test_a_job_that_raises_ends_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not 1"):
        launch(refuse, [1], [], tmp_path)


def test_only_a_launcher_s_words_are_taken() -> None:
    words = ["hydra/launcher=joblib", "+hydra.launcher.n_jobs=2", "hydra.run.dir=x", "seed=1"]
    assert launcher_words(words) == (words[:2], words[2:])
