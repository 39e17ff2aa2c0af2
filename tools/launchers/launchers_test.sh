#!/usr/bin/env bash
# Runs launchers_test.py with Debian's Open MPI and Slurm, which it installs if they are missing, and with the torchrun
# of the PyTorch that this build takes LibTorch from. Arguments go to unittest, e.g. LaunchersTest.test_slurm.
set -eu

if [ "$(id -u)" != 0 ]; then
  echo "launchers_test: needs root: it starts a Slurm of its own and makes network namespaces" >&2
  exit 1
fi
# Daemons are there, which not every PATH has.
export PATH=$PATH:/usr/sbin:/sbin
requirements=tools/consumers/requirements.txt
. tools/consumers/environment.sh

missing=
for program in mpirun:openmpi-bin slurmctld:slurmctld slurmd:slurmd srun:slurm-client munged:munge ip:iproute2; do
  command -v "${program%:*}" >/dev/null || missing="$missing ${program#*:}"
done
if [ -n "$missing" ]; then
  echo "installing$missing"
  apt-get -qq update
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends $missing >/dev/null
fi
torch=$(dirname "$(dirname "$(readlink -f ../libtorch/torch/__init__.py)")")
# Of the children, torchrun alone is Python.
export PYTHONPATH=$torch:$folder PYTHONPYCACHEPREFIX=$folder/pycache PYTHONNOUSERSITE=1 OMP_NUM_THREADS=1
# torchrun's PyTorch is linked with CUDA's libraries and calls none of them: empty ones do where symbols are looked up
# lazily, as the first variable makes it. The program has its own.
no_cuda=$PWD/tools/consumers/no_cuda
export TEC_TORCHRUN="env TORCH_USE_RTLD_GLOBAL=1 LD_LIBRARY_PATH=$no_cuda $python -m torch.distributed.run"
exec "$python" tools/launchers/launchers_test.py "$@"
