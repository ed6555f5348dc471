"""A process that is about to train: quiet, with flat memory, and with the threads it was given."""

from hflm.engine import ranks
from hflm.engine.arguments import check_arguments
from hflm.engine.steady import steady_memory
from hflm.engine.trainer import quiet_libraries
from hflm.training_settings import TrainingSettings


def prepare_process(config: TrainingSettings) -> None:
    """Set the process up as every training wants it, before anything is loaded.

    Raises UsageError for a training argument that transformers lacks, or that hflm decides.
    """
    quiet_libraries()
    steady_memory()
    check_arguments(config.training_arguments)
    ranks.use_threads(config.threads)
