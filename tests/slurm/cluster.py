"""A real three-node SLURM on loopback in one folder: munge, MariaDB, slurmdbd, slurmctld, slurmd.

    python -m tests.slurm.cluster COMMAND ...    runs COMMAND on such a cluster, then stops it

Needs the Debian packages of tests/slurm/install.sh and root. Every daemon is started by us, with
its files in the folder and ports of our own, and stopped by its own pid.
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch")
NODES = 3
SLOTS = 2  # CPUs and fake GPUs of a node, unless more are asked for
READY_SECONDS = 90
_PR_SET_PDEATHSIG = 1  # of Linux's prctl

SLURM_CONF = """
ClusterName=tc
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/run/munge.sock,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
KillWait=5
MinJobAge=300
InactiveLimit=0
MaxArraySize={max_array_size}
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={root}/run/munge.sock
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first_port}-{last_port}] \
CPUs={slots} RealMemory={memory} Gres=gpu:{slots} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 \
PreemptMode=REQUEUE
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=cpu Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=grace Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE \
GraceTime=30
PartitionName=hi Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""

SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.sock
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={db_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct
PidFile={root}/run/slurmdbd.pid
LogFile={root}/log/slurmdbd.log
"""


def missing_programs() -> list[str]:
    """The programs of a SLURM that this machine lacks; `root` when we are not root."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    return missing if os.geteuid() == 0 else ["root", *missing]


class Cluster:
    """One cluster in the folder `root`; `start` it, use `environment` for commands, `stop` it."""

    def __init__(self, root: Path, max_array_size: int = 10_001, slots: int = SLOTS) -> None:
        self.root, self.slots = root, slots
        self.host = socket.gethostname().split(".")[0]
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        ports = _free_ports(3 + NODES)
        self.db_port, self.dbd_port, self.ctld_port = ports[:3]
        self.node_ports = ports[3:]
        self.max_array_size = max_array_size
        self.conf = root / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which SLURM's commands talk to this cluster."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        path = kept.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
        return kept | {"SLURM_CONF": str(self.conf), "PATH": path}

    def start(self) -> None:
        """Start everything; returns when all nodes are idle."""
        try:
            self._write_configuration()
            self._start_munge()
            self._start_database()
            self.start_dbd()
            if "tc" not in self.call("sacctmgr", "-n", "list", "cluster", "format=cluster"):
                self.call("sacctmgr", "-i", "add", "cluster", "tc")
            self.start_controller()
            for number in range(1, NODES + 1):
                self.start_node(number)
            self.wait_for_idle()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every daemon in the order that SLURM likes, then tasks that are left."""
        order = [f"slurmd{number}" for number in range(1, NODES + 1)]
        for name in [*order, "slurmctld", "slurmdbd", "mariadbd", "munged"]:
            self.end(name)
        self._sweep_tasks()

    def call(self, *command: str, check: bool = True) -> str:
        """The output of a SLURM command."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout}")
        return done.stdout

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Send one daemon a signal and wait until it is gone; SIGKILL after 20 s."""
        daemon = self.daemons.pop(name, None)
        if daemon is None:
            return
        daemon.send_signal(number)
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def start_dbd(self) -> None:
        """Start the accounting daemon."""
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        self._wait("slurmdbd", lambda: self._succeeds("sacctmgr", "-n", "list", "cluster"))

    def start_controller(self, *flags: str) -> None:
        """Start slurmctld and wait until it answers."""
        self._spawn("slurmctld", ["slurmctld", "-D", *flags])
        self._wait("slurmctld", lambda: "UP" in self.call("scontrol", "ping", check=False))

    def start_node(self, number: int) -> None:
        """Start the slurmd of node `n<number>`."""
        (self.root / "spool" / f"n{number}").mkdir(parents=True, exist_ok=True)
        self._spawn(f"slurmd{number}", ["slurmd", "-D", "-N", f"n{number}"])

    def wait_for_idle(self, nodes: int = NODES) -> None:
        """Wait until `nodes` nodes are idle; drained and down ones are told to resume."""

        def idle() -> bool:
            command = ("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t")
            states = dict(line.split() for line in self.call(*command, check=False).splitlines())
            for node, state in states.items():
                if state.rstrip("*") in ("drain", "drng", "down"):
                    self.call("scontrol", "update", f"nodename={node}", "state=resume", check=False)
            return sum(state == "idle" for state in states.values()) >= nodes

        self._wait("slurmd", idle)

    def forget_jobs(self) -> None:
        """Rebuild the cluster: same name and folder, empty state, job ids from 1 again."""
        for name in [*(f"slurmd{number}" for number in range(1, NODES + 1)), "slurmctld"]:
            self.end(name)
        self.end("slurmdbd")
        self._sweep_tasks()
        for folder in ("state", "spool"):
            shutil.rmtree(self.root / folder)
            (self.root / folder).mkdir()
        self._sql("DROP DATABASE slurm_acct; CREATE DATABASE slurm_acct")
        self.start_dbd()
        self.call("sacctmgr", "-i", "add", "cluster", "tc")
        self.start_controller()
        for number in range(1, NODES + 1):
            self.start_node(number)
        self.wait_for_idle()

    def _write_configuration(self) -> None:
        for folder in ("run", "log", "state", "spool", "db"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        values = {
            "host": self.host,
            "root": self.root,
            "nodes": NODES,
            "slots": self.slots,
            "memory": max(3000, 600 * self.slots),  # MB; 500 a CPU are taken
            "first_port": self.node_ports[0],
            "last_port": self.node_ports[-1],
            "ctld_port": self.ctld_port,
            "dbd_port": self.dbd_port,
            "db_port": self.db_port,
            "max_array_size": self.max_array_size,
            "password": secrets.token_hex(8),
        }
        self.password = values["password"]
        self.conf.write_text(SLURM_CONF.format(**values))
        dbd = self.root / "slurmdbd.conf"
        dbd.touch(mode=0o600)
        dbd.write_text(SLURMDBD_CONF.format(**values))
        gres = f"AutoDetect=off\nNodeName=n[1-{NODES}] Name=gpu File=/dev/tty[1-{self.slots}]\n"
        (self.root / "gres.conf").write_text(gres)

    def _start_munge(self) -> None:
        key, run = self.root / "munge.key", self.root / "run"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = {"key": key, "socket": run / "munge.sock", "pid": run / "munged.pid"}
        self._spawn(
            "munged",
            [
                *("munged", "-F", f"--key-file={key}", f"--socket={files['socket']}"),
                *(f"--pid-file={files['pid']}", f"--log-file={self.root}/log/munged.log"),
                *(f"--seed-file={run}/munge.seed", "--num-threads=2", "--force"),
            ],
        )
        self._wait("munged", lambda: self._succeeds("munge", "-S", str(files["socket"]), "-n"))

    def _start_database(self) -> None:
        self.call(
            *("mariadb-install-db", "--no-defaults", "--user=root", "--skip-test-db"),
            *(f"--datadir={self.root}/db", "--auth-root-authentication-method=normal"),
        )
        self._spawn(
            "mariadbd",
            [
                *("mariadbd", "--no-defaults", "--user=root", f"--datadir={self.root}/db"),
                *(f"--socket={self.root}/run/db.sock", f"--pid-file={self.root}/run/db.pid"),
                *("--bind-address=127.0.0.1", f"--port={self.db_port}", "--skip-name-resolve"),
                *("--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M"),
                *("--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=2"),
            ],
        )
        socket_flag = f"--socket={self.root}/run/db.sock"
        admin = ("mariadb-admin", "--no-defaults", socket_flag, "ping")
        self._wait("mariadbd", lambda: self._succeeds(*admin))
        self._sql(
            "CREATE DATABASE IF NOT EXISTS slurm_acct; CREATE USER IF NOT EXISTS "
            f"slurm@'127.0.0.1' IDENTIFIED BY '{self.password}'; "
            "GRANT ALL ON slurm_acct.* TO slurm@'127.0.0.1';"
        )

    def _sql(self, text: str) -> None:
        socket_flag = f"--socket={self.root}/run/db.sock"
        self.call("mariadb", "--no-defaults", socket_flag, "-e", text)

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        with (self.root / "log" / f"{name}.out").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _succeeds(self, *command: str) -> bool:
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        return done.returncode == 0

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            daemon = self.daemons.get(name)
            if daemon is not None and daemon.poll() is not None:
                said = (self.root / "log" / f"{name}.out").read_text(errors="replace")
                raise RuntimeError(f"{name} ended with {daemon.returncode}: {said[-2000:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} is not ready after {READY_SECONDS} s; see {self.root}")
            time.sleep(0.1)

    def _sweep_tasks(self) -> None:
        """Kill what jobs of this cluster left: processes whose SLURM_CONF is ours."""
        mark = f"SLURM_CONF={self.conf}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                variables = path.read_bytes().split(b"\0")
            except OSError:
                continue
            inside = any(variable.startswith(b"SLURM_JOB_ID=") for variable in variables)
            if mark in variables and inside:
                _kill(int(path.parent.name))


def _die_with_parent() -> None:
    """In a new process: be killed when the one that started us ends, however it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    """A run of `count` consecutive ports that nobody listens on."""
    for first in range(16_800 + os.getpid() % 1000, 32_000, count):
        if all(_is_free(port) for port in range(first, first + count)):
            return list(range(first, first + count))
    raise RuntimeError("no free ports for a cluster")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run `command` on a fresh cluster; its exit code."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        cluster = Cluster(Path(folder))
        cluster.start()
        try:
            variables = cluster.environment | dict(environ or {})
            return subprocess.run(command, env=variables, check=False).returncode
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
