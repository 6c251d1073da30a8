"""Jobs through one of Hydra's launchers: one after the other, side by side (joblib), or on a cluster (submitit)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from rlft.base import RunError, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
QUIET = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null", "hydra.job.chdir=false"]


def launch(work: Callable[[Item], Result], items: Sequence[Item], words: Sequence[str], folder: Path) -> list[Result]:
    """Returns what `work` made of each item, in order.

    Args:
        work: called once per item, in this process or another; with its items it can be pickled.
        items: the jobs.
        words: overrides of Hydra's that choose the launcher and set it up.
        folder: where a launcher may write.

    Raises:
        UserError: there is no such launcher, or it has no such setting.
        RunError: a job raised an error.
    """
    GlobalHydra.instance().clear()
    plugins = Plugins.instance()  # what it finds on its way in is needed from here on
    try:
        hydra = Hydra.create_main_hydra2("rlft", create_config_search_path(None))
        settings = [*QUIET, f"hydra.sweep.dir='{folder}'", "hydra.sweep.subdir=.", "hydra.mode=MULTIRUN", *words]
        config = hydra.compose_config(None, settings, RunMode.MULTIRUN, from_shell=False)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        launcher = plugins.instantiate_launcher(context, _Task(work, list(items)), config)
        returns = launcher.launch([[f"+job={number}"] for number in range(len(items))], 0)
    except (HydraException, OmegaConfBaseException) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{' '.join(words)}: {reason} (launchers beside basic are extras: pip install 'rlft[joblib]' or "
            "'rlft[submitit]')"
        ) from error
    finally:
        GlobalHydra.instance().clear()
    for job in returns:
        if isinstance(job._return_value, Exception):
            raise RunError(f"a job of the launcher failed: {job._return_value}") from job._return_value
    return [job.return_value for job in returns]


class _Task:
    """What Hydra calls with a job's configuration, of which the job's number is all."""

    def __init__(self, work: Callable[[Any], Any], items: list[Any]):
        self.work, self.items = work, items

    def __call__(self, config: DictConfig) -> Any:
        return self.work(self.items[config.job])
