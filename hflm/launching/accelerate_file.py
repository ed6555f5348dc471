"""What a configuration file of Accelerate asks for, as the environment in which Accelerate looks for it.

Accelerate's own launcher turns the file into that environment; nothing of it is known here.
"""

import os
from pathlib import Path

import yaml

from hflm.errors import UsageError

# What says which ranks there are and how they meet is the agent's affair.
OURS = {"MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "OMP_NUM_THREADS"}


def read_accelerate(path: Path) -> tuple[int, dict[str, str]]:
    """Return the number of processes that a file names, and the environment that it stands for.

    Raises UsageError for a file that Accelerate cannot read, and for what one machine's processes cannot do.
    """
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import (
        prepare_deepspeed_cmd_env,
        prepare_multi_gpu_env,
        prepare_simple_launcher_cmd_env,
    )

    if not path.is_file():
        raise UsageError(f"{path} is not there.", fix="`accelerate config --config_file FILE` makes one.")
    asked = launch_command_parser().parse_args(["--config_file", str(path), "script"])
    try:
        args, defaults, _ = _validate_launch_command(asked)
        # The port of a launcher that is not used: any that is free.
        args.main_process_port = 0
        kind = str(getattr(defaults.distributed_type, "value", defaults.distributed_type))
        if (args.num_machines or 1) > 1 or kind in ("XLA", "TPU") or not hasattr(defaults, "use_cpu"):
            raise UsageError(f"{path} is for several machines, TPUs or SageMaker.", fix="Use `accelerate launch`.")
        if args.use_deepspeed:
            _, found = prepare_deepspeed_cmd_env(args)
        elif args.use_fsdp or args.multi_gpu:
            found = prepare_multi_gpu_env(args)
        else:
            _, found = prepare_simple_launcher_cmd_env(args)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, yaml.YAMLError) as error:
        raise UsageError(f"Accelerate cannot use {path}: {error}.", fix="Make it with `accelerate config`.") from error
    changed = {name: value for name, value in found.items() if os.environ.get(name) != value and name not in OURS}
    return int(args.num_processes or 1), changed
