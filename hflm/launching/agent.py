"""The agent of torch elastic that starts hflm's ranks: elastic brings machines together, this watches processes.

torch's own agent gives ranks half a minute to end after one has failed, in which those that wait for it finish no
step; and it does not know that a rank can leave early, or wait for another in vain.
"""

import logging
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch.distributed import DistError
from torch.distributed.elastic.agent.server.api import RunResult, SimpleElasticAgent, WorkerSpec, WorkerState
from torch.distributed.elastic.events.api import Event, EventSource
from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from hflm.errors import HflmError, RankError, UsageError
from hflm.launching.ending import End, first_cause
from hflm.launching.job import Job, Outcome
from hflm.launching.machines import Machines, Meeting, interface_of, own_address
from hflm.launching.processes import Events, Rank, Start, end_all, loopback
from hflm.run import RunFolder
from hflm.settings import read_yaml, seconds
from hflm.training_settings import FREE

# Seconds from the first failure until it is judged which was the first; and to a rank for writing where it stands.
SETTLE, TELL = 1.0, 0.5
HERE = "127.0.0.1"
SOCKETS = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
# Seconds that machines wait for each other in the beginning.
JOIN = 600


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What is to be started: a job on so many ranks of this machine, each with so many threads."""

    job: Job
    processes: int
    threads: int
    max_restarts: int
    timeout: str
    hear: Callable[[Mapping[str, Any]], None]
    start: Start
    environment: Mapping[str, str] = field(default_factory=dict)
    machines: Machines = Machines()


def ready_agent(launch: Launch) -> "Agent":
    """Return the agent of a launch on this machine; with others, it meets theirs when it is run."""
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
    if launch.machines.count > 1:
        return _meeting_agent(launch)
    handler = get_rendezvous_handler(
        RendezvousParameters(
            backend="c10d", endpoint=f"{HERE}:0", run_id=uuid.uuid4().hex, min_nodes=1, max_nodes=1, local_addr=HERE,
            is_host=True,
        )
    )  # fmt: skip
    spec = WorkerSpec(
        role="hflm", local_world_size=launch.processes, rdzv_handler=handler, entrypoint="hflm.rank",
        max_restarts=launch.max_restarts, monitor_interval=0.001, master_addr=HERE,
    )  # fmt: skip
    return Agent(spec, launch)


def _meeting_agent(launch: Launch) -> "Agent":
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    machines, limit = launch.machines, int(max(1, min(60, seconds(launch.timeout, name="rank_timeout"))))
    address, until = own_address(machines.rendezvous), time.monotonic() + JOIN
    while True:
        try:
            handler = get_rendezvous_handler(
                RendezvousParameters(
                    backend="c10d", endpoint=machines.rendezvous, run_id="hflm", min_nodes=machines.count,
                    max_nodes=machines.count, local_addr=address, is_host=machines.rank == 0, read_timeout=limit,
                    join_timeout=JOIN,
                )
            )  # fmt: skip
            break
        except RendezvousError as error:
            # Machine 0 may be late; that its port is taken does not change.
            if machines.rank == 0 or time.monotonic() > until:
                who = f"Nobody can listen at {machines.rendezvous}" if machines.rank == 0 else "Machine 0 does not come"
                raise UsageError(f"{who}.", fix="Name the address of machine 0 and a free port.") from error
    spec = WorkerSpec(
        role="hflm", local_world_size=launch.processes, rdzv_handler=handler, entrypoint="hflm.rank",
        max_restarts=0, monitor_interval=0.001,
    )  # fmt: skip
    return Agent(spec, launch)


class Agent(SimpleElasticAgent):
    """Starts the ranks of this machine, hears of them, and ends them all where one has failed."""

    def __init__(self, spec: WorkerSpec, launch: Launch) -> None:
        super().__init__(spec)
        self.launch = launch
        self.place = Path(tempfile.mkdtemp(prefix="hflm-launch-"))
        self.ranks: list[Rank] = []
        self.events: Events | None = None
        self.signals: list[int] = []
        self.meeting: Meeting | None = None
        # The plan of the run that this job replaces, which stands until the job makes the folder its own.
        self.replaced = _mark(launch.job) if launch.job.overwrite else None

    @property
    def logs(self) -> Path:
        """Where the logs of the ranks go when one fails: into the run, where there is one by then."""
        run = RunFolder(Path(self.launch.job.folder)) if self.launch.job.folder else None
        return run.ranks if run and run.config.exists() else self.place

    def forward(self, number: int) -> None:
        """Pass a signal on to every rank; a second one ends them at once."""
        self.signals.append(number)
        if len(self.signals) == 1 and self.launch.job.folder:
            # A run ends its step, which may be long, and saves: that is said at once.
            self.launch.hear({"kind": "stopping", "content": {}})
        for rank in self.ranks:
            rank.send(number) if len(self.signals) == 1 else rank.end()

    def run(self, role: str = "hflm") -> RunResult:
        """Run the job to its end; raises what the first rank to fail failed of."""
        try:
            result: RunResult = super().run(role)
            return result
        except (RendezvousError, DistError) as error:
            others = self.launch.machines.others
            if not others:
                raise
            if self.meeting is None:
                raise RankError("The machines did not find each other.", fix="Look at --rendezvous on each.") from error
            raise self.meeting.lost([0] if self.launch.machines.rank else others) from error

    def _assign_worker_ranks(self, store: Any, group_rank: int, group_world_size: int, spec: WorkerSpec) -> list[Any]:
        machines, launch = self.launch.machines, self.launch
        if machines.count > 1:
            # The rendezvous numbers machines by address; here the user does.
            group_rank, limit = machines.rank, seconds(launch.timeout, name="rank_timeout")
            self.meeting = Meeting(store, machines, timeout=launch.timeout, seconds=limit)
            self.meeting.introduce(launch.job.settings)
        found: list[Any] = super()._assign_worker_ranks(store, group_rank, group_world_size, spec)
        return found

    def _exit_barrier(self) -> None:
        if self.meeting and not self.meeting.finish():
            raise first_cause(self.meeting.exchange(self._ends()), logs=str(self.logs), timeout=self.launch.timeout)

    def _start_workers(self, worker_group: Any) -> dict[int, Any]:
        self.launch.job.write(self.place)
        self.events = Events()
        self.ranks = []
        for worker in worker_group.workers:
            environment = {**os.environ, **self.launch.environment, **self._environment(worker_group, worker)}
            log = self.place / f"rank-{worker.global_rank}.log"
            (self.place / f"outcome-{worker.global_rank}.json").unlink(missing_ok=True)
            process = self.launch.start(self.place, log, self.events.writer, environment)
            self.ranks.append(Rank(worker.global_rank, process, log))
        self.events.close_writer()
        for number in self.signals[:1]:
            # It came while there was nobody yet to pass it on to.
            for rank in self.ranks:
                rank.send(number)
        return {
            worker.local_rank: rank.process.pid for worker, rank in zip(worker_group.workers, self.ranks, strict=True)
        }

    def _environment(self, group: Any, worker: Any) -> dict[str, str]:
        machines = self.launch.machines
        interface = loopback() if machines.count == 1 else interface_of(own_address(machines.rendezvous))
        # Between machines a user may know the better way, as InfiniBand.
        kept: Mapping[str, str] = os.environ if machines.count > 1 else {}
        return {
            "RANK": str(worker.global_rank), "LOCAL_RANK": str(worker.local_rank), "GROUP_RANK": str(machines.rank),
            "WORLD_SIZE": str(worker.world_size), "LOCAL_WORLD_SIZE": str(group.spec.local_world_size),
            "MASTER_ADDR": group.master_addr, "MASTER_PORT": str(group.master_port),
            "TORCHELASTIC_USE_AGENT_STORE": str(group.spec.rdzv_handler.use_agent_store),
            "TORCHELASTIC_RESTART_COUNT": str(group.spec.max_restarts - self._remaining_restarts),
            "OMP_NUM_THREADS": str(self.launch.threads), "HFLM_LAUNCHER": str(os.getpid()),
            **{name: interface for name in SOCKETS[: machines.count] if interface and name not in kept},
        }  # fmt: skip

    def _monitor_workers(self, worker_group: Any) -> RunResult:
        if self.meeting:
            self.meeting.store.rest()
        self._hear(wait=0.05)
        ends = self._ends()
        if all(end.done for end in ends):
            self._hear(wait=0)
            return RunResult(state=WorkerState.SUCCEEDED, return_values={end.rank: None for end in ends})
        if self.meeting:
            self.meeting.beat()
        if not any(end.failed for end in ends) and not (self.meeting and self.meeting.called):
            if self.meeting:
                # Elastic asks the store too, before it comes here again.
                self.meeting.store.watch()
            return RunResult(state=WorkerState.HEALTHY)
        cause = self._settle()
        if self._remaining_restarts == 0 or not may_pass(cause) or self.signals:
            raise cause
        self._keep_logs()
        count = worker_group.spec.max_restarts - self._remaining_restarts + 1
        self.launch.hear({"kind": "note", "content": {"text": (
            f"{cause.problem} Starting again, {count} of {worker_group.spec.max_restarts}."
        )}})  # fmt: skip
        self.launch = replace(self.launch, job=again(self.launch.job, replaced=self.replaced))
        return RunResult(state=WorkerState.FAILED)

    def _settle(self) -> HflmError:
        """Wait a moment for what led to a failure, end what is left, and return the first cause."""
        until = time.monotonic() + SETTLE
        while time.monotonic() < until and any(end.code is None for end in self._ends()):
            self._hear(wait=0.05)
        ends = self._ends()
        for rank, end in zip(self.ranks, ends, strict=True):
            if end.code is None and hasattr(signal, "SIGUSR2"):
                # It writes down where it stands, if it is able to.
                rank.send(signal.SIGUSR2)
        if any(end.code is None for end in ends):
            time.sleep(TELL)
        end_all(self.ranks)
        self._hear(wait=0)
        if self.meeting:
            ends = self.meeting.exchange(ends)
        return first_cause(ends, logs=str(self.logs), timeout=self.launch.timeout)

    def _ends(self) -> list[End]:
        return [
            End(rank.number, code, None if code is None else Outcome.read(self.place, rank.number))
            for rank in self.ranks
            for code in [rank.process.poll()]
        ]

    def _hear(self, *, wait: float) -> None:
        assert self.events is not None
        for event in self.events.read(wait=wait):
            self.launch.hear(event)

    def _stop_workers(self, worker_group: Any) -> None:
        end_all(self.ranks)
        if self.events is not None:
            self.events.close()
            self.events = None

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 30) -> None:
        self._stop_workers(self._worker_group)

    def _keep_logs(self) -> None:
        """Copy what the ranks printed into the run folder."""
        for log in self.place.glob("rank-*.log"):
            if self.logs != self.place:
                self.logs.mkdir(exist_ok=True)
                shutil.copyfile(log, self.logs / log.name)

    def put_away(self, *, failed: bool, named: bool) -> None:
        """Keep the logs where something failed, outside of a run only if they are `named`, and nothing else."""
        if failed:
            self._keep_logs()
        if not (failed and named) or self.logs != self.place:
            shutil.rmtree(self.place, ignore_errors=True)

    def _construct_event(self, *words: Any, **named: Any) -> Event:
        # The usual one asks the resolver for this machine's full name, which behind a firewall may take seconds.
        return Event("hflm", EventSource.AGENT)


def may_pass(cause: HflmError) -> bool:
    """Tell whether starting again may help: not against bad input, a full disk or numbers that are none."""
    return isinstance(cause, RankError)


def _mark(job: Job) -> tuple[int, ...] | None:
    """Return what tells the plan in the folder of a job from another one; None where there is none."""
    plan = RunFolder(Path(job.folder)).plan if job.folder else None
    status = plan.stat() if plan and plan.exists() else None
    return (status.st_ino, status.st_mtime_ns, status.st_size) if status else None


def again(job: Job, *, replaced: tuple[int, ...] | None = None) -> Job:
    """Return the job that goes on where another try of it was broken off; `replaced` marks a plan that is not its own.

    It goes on with the settings that the run has kept: a data set of the hub has its revision there.
    """
    if not job.folder:
        return job
    run = RunFolder(Path(job.folder))
    if (found := _mark(job)) and found != replaced:
        free = {name: job.settings[name] for name in FREE if name in job.settings}
        settings = job.settings if job.resume else {**read_yaml(run.config), **free}
        return replace(job, resume=True, overwrite=False, like=None, settings=settings)
    # What stands there is our own, and had not begun to train.
    return replace(job, overwrite=job.overwrite or run.config.exists())
