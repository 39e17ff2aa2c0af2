"""Runs //tec:pretrain as two ranks under every launcher that docs/cluster.md describes, and as two hosts.

Whatever starts the ranks, the last checkpoint is byte for byte that of two processes started by hand; so are a linear
probe's results, and kNN's are those of one process. Slurm, network namespaces, a host file of one's own and a small
disk need root. Somewhat longer than a file should be: Slurm and Hosts, which start what the tests run on, are theirs
alone.
"""

import contextlib
import functools
import glob
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest
import unittest.mock
import zlib

PRETRAIN = os.path.realpath('tec/pretrain')
EVALUATORS = {  # And how many processes give the results that are expected.
    'knn': (1, [os.path.realpath('eval/knn/knn')]),
    'linear': (2, [os.path.realpath('eval/linear/linear'), '--epochs=3', '--warmup_epochs=1', '--batch_size=4',
                   '--blr=20']),
}
TORCHRUN = os.environ.get('TEC_TORCHRUN', 'torchrun').split()
EPOCHS = 30
LAST = f'checkpoint-{EPOCHS - 1}.pth'
EXPERIMENT = """
method: MAE
model {{
  name: "custom"
  encoder {{ image_size: 32 patch_size: 8 width: 32 depth: 2 heads: 2 }}
  decoder {{ width: 16 depth: 1 heads: 2 }}
}}
losses {{ norm_pix_loss: true }}
data {{ path: "{0}/pictures" num_workers: 1 }}
optimizer {{ batch_size: 4 blr: 0.02 }}
schedule {{ epochs: {1} warmup_epochs: 1 }}
checkpointing {{ save_period: 1000 save_every_minutes: 0.001 }}
logging {{ print_freq: 100 }}
runtime {{ device: "cpu" precision: FLOAT32 threads: 1 }}
"""


def write_picture(path, seed):
    """40 x 40 pixels of noise, as PNG."""
    noise = random.Random(seed)
    rows = b''.join(b'\0' + bytes(noise.randrange(64) + (4 * y if seed % 2 else 90) for _ in range(120))
                    for y in range(40))
    with open(path, 'wb') as file:
        file.write(b'\x89PNG\r\n\x1a\n')
        for name, data in ((b'IHDR', struct.pack('>IIBBBBB', 40, 40, 8, 2, 0, 0, 0)), (b'IDAT', zlib.compress(rows)),
                           (b'IEND', b'')):
            file.write(struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data)))


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def read(path):
    with open(path, 'rb') as file:
        return file.read()


def text(path):
    return read(path).decode(errors='replace') if os.path.exists(path) else ''


def updates(folder):
    path = f'{folder}/metrics.jsonl'
    return read(path).count(b'\n') if os.path.exists(path) else 0


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError('waited in vain')
        time.sleep(0.01)


class LaunchersTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='launchers')
        os.mkdir(f'{cls.folder}/pictures')
        for i in range(64):
            write_picture(f'{cls.folder}/pictures/{i}.png', i)
        for part, images in (('train', 32), ('val', 15)):
            for i in range(images):
                os.makedirs(f'{cls.folder}/labelled/{part}/class{i % 2}', exist_ok=True)
                write_picture(f'{cls.folder}/labelled/{part}/class{i % 2}/{i}.png', i + 100 * len(part))
        cls.config = f'{cls.folder}/experiment.textproto'
        with open(cls.config, 'w', encoding='utf-8') as file:
            file.write(EXPERIMENT.format(cls.folder, EPOCHS))
        for code in cls.by_hand('by_hand', free_port()):
            assert code == 0, text(f'{cls.folder}/by_hand.0.log')
        cls.expected = read(f'{cls.folder}/by_hand/{LAST}')

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def command(cls, out, *more):
        return [PRETRAIN, f'--config={cls.config}', '--noreport', f'--output_dir={cls.folder}/{out}', *more]

    @classmethod
    def evaluation(cls, name, out, *more):
        return [*EVALUATORS[name][1], f'--checkpoint={cls.folder}/by_hand/{LAST}', f'--data_path={cls.folder}/labelled',
                f'--output_dir={cls.folder}/{out}', '--device=cpu', '--precision=float32', '--threads=1', *more]

    @classmethod
    def start_rank(cls, out, rank, port, *more, address='127.0.0.1', inside=(), command=()):
        environment = dict(os.environ, RANK=str(rank), LOCAL_RANK=str(0 if inside else rank), WORLD_SIZE='2',
                           LOCAL_WORLD_SIZE='1' if inside else '2', MASTER_ADDR=address, MASTER_PORT=str(port))
        with open(f'{cls.folder}/{out}.{rank}.log', 'ab') as log:
            return subprocess.Popen([*inside, *(command or cls.command(out, *more))], env=environment, stdout=log,
                                    stderr=log)

    @classmethod
    def by_hand(cls, out, port):
        ranks = [cls.start_rank(out, rank, port) for rank in (0, 1)]
        return [rank.wait() for rank in ranks]

    def run_all(self, command, **kwargs):
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300,
                                **kwargs)
        return result.returncode, result.stdout.decode(errors='replace')

    def expect_whole(self, out, log=''):
        self.assertTrue(os.path.exists(f'{self.folder}/{out}/{LAST}'), log)
        self.assertEqual(read(f'{self.folder}/{out}/{LAST}'), self.expected)

    @classmethod
    @functools.lru_cache(maxsize=None)
    def expected_results(cls, name):
        out = f'{name}_by_hand'
        if EVALUATORS[name][0] == 1:
            subprocess.run(cls.evaluation(name, out), check=True, stdout=subprocess.DEVNULL)
        else:
            port = free_port()
            ranks = [cls.start_rank(out, rank, port, command=cls.evaluation(name, out)) for rank in (0, 1)]
            assert [rank.wait(timeout=200) for rank in ranks] == [0, 0], text(f'{cls.folder}/{out}.0.log')
        return read(f'{cls.folder}/{out}/results.json')

    def expect_evaluators(self, launcher, launch, environment, *more):
        for name in EVALUATORS:
            out = f'{launcher}_{name}'
            code, log = self.run_all([*launch, *self.evaluation(name, out, *more)], env=environment)
            self.assertEqual(code, 0, log)
            self.assertEqual(text(f'{self.folder}/{out}/results.json').encode(), self.expected_results(name), log)

    def torchrun(self, *more):
        return [*TORCHRUN, *more, '--no-python']

    # Open MPI.

    def test_open_mpi(self):
        code, log = self.run_all(
            ['mpirun', '--allow-run-as-root', '--oversubscribe', '-np', '2', *self.command('mpi', '--dist_on_itp')],
            env=dict(os.environ, MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port())))
        self.assertEqual(code, 0, log)
        self.expect_whole('mpi', log)

    def test_open_mpi_starts_evaluators(self):
        self.expect_evaluators('mpi', ['mpirun', '--allow-run-as-root', '--oversubscribe', '-np', '2'],
                               dict(os.environ, MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port())), '--dist_on_itp')

    def test_open_mpi_without_the_flag_is_refused(self):
        code, log = self.run_all(
            ['mpirun', '--allow-run-as-root', '--oversubscribe', '-np', '2', *self.command('no_flag')])
        self.assertNotEqual(code, 0)
        self.assertIn('OMPI_COMM_WORLD_SIZE is 2', log)
        self.assertIn('give --dist_on_itp', log)
        self.assertFalse(os.path.exists(f'{self.folder}/no_flag'))

    # torchrun.

    def test_torchrun_with_one_agent(self):
        code, log = self.run_all([*self.torchrun('--standalone', '--nproc-per-node=2'), *self.command('one_agent')])
        self.assertEqual(code, 0, log)
        self.expect_whole('one_agent', log)

    def test_torchrun_with_two_agents(self):
        agents = []
        for agent in range(2):
            with open(f'{self.folder}/agent{agent}.log', 'wb') as log:
                agents.append(subprocess.Popen(
                    [*self.torchrun('--nnodes=2', '--nproc-per-node=1', '--rdzv-backend=c10d', '--rdzv-id=7',
                                    f'--rdzv-endpoint=127.0.0.1:{self.agents_port}'), *self.command('two_agents')],
                    stdout=log, stderr=log))
        for agent in agents:
            self.assertEqual(agent.wait(timeout=300), 0, text(f'{self.folder}/agent0.log'))
        self.expect_whole('two_agents')

    agents_port = free_port()

    def test_torchrun_starts_again_after_a_sigkill(self):
        out = f'{self.folder}/restarted'
        with open(f'{out}.log', 'wb') as log:
            agent = subprocess.Popen(
                [*self.torchrun('--standalone', '--nproc-per-node=2', '--max-restarts=2'), *self.command('restarted')],
                stdout=log, stderr=log)
        for kill in range(2):
            wait_for(lambda: updates(out) > 20 + 40 * kill)
            os.kill(self.ranks_of('restarted')[kill], signal.SIGKILL)
            time.sleep(1)
        self.assertEqual(agent.wait(timeout=300), 0, text(f'{out}.log'))
        self.assertIn('resumed from', text(f'{out}.log'))
        self.expect_whole('restarted')

    def ranks_of(self, out):
        """Process ids, by rank."""
        found = {}
        for path in glob.glob('/proc/[0-9]*/cmdline'):
            with contextlib.suppress(OSError):
                words = read(path).split(b'\0')
                if words[0] != PRETRAIN.encode() or f'--output_dir={self.folder}/{out}'.encode() not in words:
                    continue
                variables = read(path.replace('cmdline', 'environ')).split(b'\0')
                rank = next(int(v[5:]) for v in variables if v.startswith(b'RANK='))
                found[rank] = int(path.split('/')[2])
        return [found[rank] for rank in sorted(found)]

    # Slurm.

    def test_slurm(self):
        with Slurm(self.folder) as slurm:
            # srun.
            code, log = self.run_all(['srun', '--ntasks=2', '--overcommit', *self.command('srun')],
                                     env=slurm.environment)
            self.assertEqual(code, 0, log)
            self.expect_whole('srun', log)
            self.expect_evaluators('srun', ['srun', '--ntasks=2', '--overcommit'], slurm.environment)
            # One of several tasks ends: the others say why, and so does srun.
            out = f'{self.folder}/srun_killed'
            with open(f'{out}.log', 'wb') as log:
                srun = subprocess.Popen(['srun', '--ntasks=2', '--overcommit', *self.command('srun_killed')],
                                        env=slurm.environment, stdout=log, stderr=log)
            wait_for(lambda: updates(out) > 20)
            os.kill(self.slurm_rank('srun_killed', 1), signal.SIGKILL)
            self.assertNotEqual(srun.wait(timeout=100), 0)
            self.assertIn('ended without a word', text(f'{out}.log'))
            # sbatch: a signal before the end of the time, then the same job again.
            script = f'{self.folder}/job.sh'
            command = ' '.join(self.command('sbatch', f'--epochs={EPOCHS}'))
            with open(script, 'w', encoding='utf-8') as file:
                file.write(SBATCH.format(folder=self.folder, command=command))
            out = f'{self.folder}/sbatch'
            code, log = self.run_all(['sbatch', '--parsable', script], env=slurm.environment)
            self.assertEqual(code, 0, log)
            job = log.strip()
            wait_for(lambda: updates(out) > 20)
            code, log = self.run_all(['scancel', '--signal=USR2', '--batch', job], env=slurm.environment)
            self.assertEqual(code, 0, log)
            wait_for(lambda: os.path.exists(f'{out}/{LAST}'), seconds=200)
            wait_for(lambda: job not in self.run_all(['squeue', '-h', '-o', '%i'], env=slurm.environment)[1])
            log = text(f'{self.folder}/job.log')
            self.assertIn('asked to', log)
            self.assertIn('resumed from', log)
            self.expect_whole('sbatch', log)

    def slurm_rank(self, out, rank):
        for path in glob.glob('/proc/[0-9]*/cmdline'):
            with contextlib.suppress(OSError):
                words = read(path).split(b'\0')
                if words[0] != PRETRAIN.encode() or f'--output_dir={self.folder}/{out}'.encode() not in words:
                    continue
                if f'SLURM_PROCID={rank}'.encode() in read(path.replace('cmdline', 'environ')).split(b'\0'):
                    return int(path.split('/')[2])
        raise AssertionError('no such rank')

    # A disk that is full, on rank 0 alone.

    def test_a_full_disk_ends_both_and_the_next_start_trains(self):
        out, port = f'{self.folder}/full', free_port()
        os.mkdir(out)
        small = ['unshare', '--mount', 'sh', '-c', f'mount -t tmpfs -o size=150k none {out} && exec "$@"', 'sh']
        ranks = [self.start_rank('full', rank, port, inside=inside) for rank, inside in ((0, small), (1, ['env']))]
        self.assertEqual([rank.wait(timeout=100) for rank in ranks], [2, 2], text(f'{out}.0.log'))
        self.assertRegex(text(f'{out}.0.log'), r'pretrain: .*/full has [0-9.]+ KiB free')
        self.assertRegex(text(f'{out}.1.log'), r'pretrain: rank 0: .*/full has [0-9.]+ KiB free')
        ranks = [self.start_rank('full', rank, port) for rank in (0, 1)]
        self.assertEqual([rank.wait(timeout=200) for rank in ranks], [0, 0], text(f'{out}.0.log'))
        self.expect_whole('full')

    # Two hosts in network namespaces.

    def test_a_host_whose_own_name_is_the_loopback_device(self):
        with Hosts(self.folder) as hosts:
            ranks = [self.start_rank('named', rank, 29701, address='head', inside=hosts.inside(rank))
                     for rank in (0, 1)]
            codes = [rank.wait(timeout=200) for rank in ranks]
            self.assertEqual(codes, [0, 0], text(f'{self.folder}/named.0.log') + text(f'{self.folder}/named.1.log'))
            self.expect_whole('named')

    def test_the_device_can_be_chosen(self):
        with Hosts(self.folder) as hosts:
            for device, code in (('ranks', 0), ('nothing0', 1)):
                with unittest.mock.patch.dict(os.environ, GLOO_SOCKET_IFNAME=device):
                    ranks = [self.start_rank(f'device_{device}', rank, 29702, address='10.77.0.1',
                                             inside=hosts.inside(rank)) for rank in (0, 1)]
                    self.assertEqual([rank.wait(timeout=200) for rank in ranks], [code, code],
                                     text(f'{self.folder}/device_{device}.0.log'))
            self.assertIn('GLOO_SOCKET_IFNAME', text(f'{self.folder}/device_nothing0.1.log'))
            self.expect_whole('device_ranks')

    def test_a_cut_link_ends_both_and_the_next_start_goes_on(self):
        with Hosts(self.folder) as hosts:
            start = lambda: [self.start_rank('cut', rank, 29703, '--dist_timeout=8', address='10.77.0.1',
                                             inside=hosts.inside(rank)) for rank in (0, 1)]
            ranks = start()
            wait_for(lambda: updates(f'{self.folder}/cut') > 20)
            hosts.link('down')
            cut = time.monotonic()
            self.assertEqual([rank.wait(timeout=8 + 30) for rank in ranks], [2, 2])
            print(f'link cut: both ended after {time.monotonic() - cut:.1f} s')
            self.assertIn('no sign of life from rank 1 ', text(f'{self.folder}/cut.0.log'))
            self.assertIn('no sign of life from rank 0 ', text(f'{self.folder}/cut.1.log'))
            hosts.link('up')
            self.assertEqual([rank.wait(timeout=200) for rank in start()], [0, 0], text(f'{self.folder}/cut.0.log'))
            self.expect_whole('cut')


SBATCH = """#!/bin/bash
#SBATCH --ntasks=2 --overcommit --requeue --open-mode=append --output={folder}/job.log
#SBATCH --signal=B:USR2@60
# Slurm tells this script a minute before the end of the time; the ranks save and end with code 3; the job queues again.
trap 'scancel --signal=TERM "$SLURM_JOB_ID"' USR2
srun --overcommit {command} &
while true; do
  wait $!
  code=$?
  [ "$code" -gt 128 ] || break
done
if [ "$code" = 3 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""


class Slurm:
    """A cluster of this machine, all of whose files lie in a folder."""

    def __init__(self, folder):
        self.folder = tempfile.mkdtemp(prefix='slurm', dir=folder)
        self.environment = dict(os.environ, SLURM_CONF=f'{self.folder}/slurm.conf')
        self.processes = []

    def __enter__(self):
        host = socket.gethostname().split('.')[0]
        munge = f'{self.folder}/munge'
        os.mkdir(munge, 0o755)
        with open(f'{munge}/key', 'wb') as key:
            key.write(os.urandom(128))
        os.chmod(f'{munge}/key', 0o400)
        with open(f'{self.folder}/slurm.conf', 'w', encoding='utf-8') as conf:
            conf.write(f"""ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={munge}/socket
CredType=cred/munge
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
SlurmctldLogFile={self.folder}/slurmctld.log
SlurmdLogFile={self.folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MinJobAge=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=60 State=UP
""")
        for name in ('state', 'spool'):
            os.mkdir(f'{self.folder}/{name}')
        os.chmod(self.folder, 0o755)
        os.chmod(os.path.dirname(self.folder), 0o755)
        self.start('munged', '-F', '-f', '-S', f'{munge}/socket', '--key-file', f'{munge}/key', '--pid-file',
                   f'{munge}/pid', '--seed-file', f'{munge}/seed', '--log-file', f'{munge}/log')
        wait_for(lambda: os.path.exists(f'{munge}/socket'), 30)
        self.start('slurmctld', '-D', '-f', f'{self.folder}/slurm.conf')
        self.start('slurmd', '-D', '-f', f'{self.folder}/slurm.conf')
        wait_for(lambda: b'idle' in subprocess.run(['sinfo', '-h', '-o', '%T'], env=self.environment, check=False,
                                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout, 60)
        return self

    def start(self, *command):
        with open(f'{self.folder}/{command[0]}.out', 'wb') as log:
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Hosts:
    """Two network namespaces with a link between them: 10.77.0.1, also called head, and 10.77.0.2.

    Each resolves its own name to 127.0.1.1, as Debian's installer has it."""

    def __init__(self, folder):
        self.folder = folder
        self.names = [f'tec{os.getpid()}-{i}' for i in (0, 1)]

    def run(self, *command):
        subprocess.run(command, check=True)

    def __enter__(self):
        for name in self.names:
            self.run('ip', 'netns', 'add', name)
        self.run('ip', 'link', 'add', 'ranks', 'netns', self.names[0], 'type', 'veth', 'peer', 'name', 'ranks', 'netns',
                 self.names[1])
        for i, name in enumerate(self.names):
            self.run('ip', '-n', name, 'addr', 'add', f'10.77.0.{i + 1}/24', 'dev', 'ranks')
            for device in ('lo', 'ranks'):
                self.run('ip', '-n', name, 'link', 'set', device, 'up')
            with open(f'{self.folder}/hosts{i}', 'w', encoding='utf-8') as file:
                file.write('127.0.0.1 localhost\n' + ('127.0.1.1 head\n' if i == 0 else '10.77.0.1 head\n'))
        return self

    def inside(self, rank):
        """To be put before a command: on the host of that rank."""
        return ['ip', 'netns', 'exec', self.names[rank], 'unshare', '--mount', 'sh', '-c',
                f'mount --bind {self.folder}/hosts{rank} /etc/hosts && exec "$@"', 'sh']

    def link(self, state):
        self.run('ip', '-n', self.names[0], 'link', 'set', 'ranks', state)

    def __exit__(self, *_):
        for name in self.names:
            self.run('ip', 'netns', 'delete', name)


if __name__ == '__main__':
    unittest.main(verbosity=2)
