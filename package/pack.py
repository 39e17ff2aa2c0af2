#!/usr/bin/env python3
"""Makes the wheel (*.whl) or the archive (*.tar.gz): see package/BUILD. The same inputs give the same bytes."""

import argparse
import base64
import gzip
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile

# Seen from tec/bin/*/tec in a folder of Python packages; NVIDIA's are where torch's wheel requires them to be.
WHEEL_RUNPATH = ":".join(["$ORIGIN/../../lib"] + ["$ORIGIN/../../../" + folder for folder in (
    "torch/lib", "nvidia/cu13/lib", "nvidia/cudnn/lib", "nvidia/cusparselt/lib", "nvidia/nccl/lib",
    "nvidia/nvshmem/lib")])
# NVIDIA's. torch's libraries name them themselves, where they need them, and know where they are; PyTorch for the CPU
# alone does not have them.
OF_CUDA = r"lib(cu|nv|nccl)"
# The runtime is what our own kernels call.
OF_CUDA_BUT_RUNTIME = r"lib(cu(?!dart)|nv|nccl)"

METADATA = """Metadata-Version: 2.4
Name: tec-pretrain
Version: {version}
Summary: Target-Enhanced Conditional pretraining of image encoders: the programs, for PyTorch {torch}
License-Expression: Apache-2.0
Requires-Python: >=3.10
Requires-Dist: torch=={torch}.*
Requires-Dist: timm>=1.0.0; extra == "timm"
Provides-Extra: timm
Description-Content-Type: text/markdown

{readme}"""


def put(source, target, mode=0o644):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


class Packer:
    def __init__(self, options, root):
        self.options = options
        self.root = root

    def patchelf(self, file, *arguments):
        subprocess.run([self.options.patchelf, *arguments, str(file)], check=True)

    def program(self, source, target, runpath, without=None):
        """Stripped, with `runpath` in the place of the build's, and without needing the libraries whose names the
        regular expression `without` matches."""
        put(source, target, 0o755)
        subprocess.run(["strip", "--strip-all", str(target)], check=True)
        needed = subprocess.run([self.options.patchelf, "--print-needed", str(target)], check=True, text=True,
                                stdout=subprocess.PIPE).stdout.split()
        others = [name for name in needed if without and re.match(without, name)]
        self.patchelf(target, *(word for name in others for word in ("--remove-needed", name)), "--set-rpath", runpath)

    def libraries(self, folder):
        """Debian's, which look for one another beside themselves."""
        for source in self.options.library:
            put(source, folder / os.path.basename(source), 0o755)
            self.patchelf(folder / os.path.basename(source), "--set-rpath", "$ORIGIN")

    def licences(self, folder):
        put(self.options.licence, folder / "LICENSE")
        for source in self.options.notice:
            # zlib1g-dev.copyright of a Debian package; torch-2.11.0.dist-info/licenses/... of a wheel.
            wheel, _, file = source.rpartition("/licenses/")
            name = os.path.basename(wheel).replace(".dist-info", "") + "." + file.replace("/", ".") if wheel else (
                os.path.basename(source))
            put(source, folder / name)


def wheel(options, root):
    packer = Packer(options, root)
    package, info = root / "tec", root / ("tec_pretrain-%s.dist-info" % options.version)
    for source in options.python:
        put(source, package / os.path.basename(source))
    packer.program(options.program, package / "bin/cpu/tec", WHEEL_RUNPATH, without=OF_CUDA)
    if options.cuda_program:
        packer.program(options.cuda_program, package / "bin/cuda/tec", WHEEL_RUNPATH, without=OF_CUDA_BUT_RUNTIME)
    packer.libraries(package / "lib")
    packer.licences(info / "licenses")
    torch = ".".join(options.torch.split(".")[:2])
    readme = pathlib.Path(options.readme).read_text()
    (info / "METADATA").write_text(METADATA.format(version=options.version, torch=torch, readme=readme))
    tag = os.path.basename(options.output)[:-len(".whl")].split("-", 2)[2]
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nGenerator: tec\nRoot-Is-Purelib: false\nTag: %s\n" % tag)
    (info / "entry_points.txt").write_text("[console_scripts]\ntec = tec:_main\n")
    files = sorted(file for file in root.rglob("*") if file.is_file())
    record = ""
    for file in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\n" % (file.relative_to(root), digest, file.stat().st_size)
    (info / "RECORD").write_text(record + "%s/RECORD,,\n" % info.relative_to(root))
    with zipfile.ZipFile(options.output, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files + [info / "RECORD"]:
            entry = zipfile.ZipInfo(str(file.relative_to(root)), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | (0o755 if os.access(file, os.X_OK) else 0o644)) << 16
            archive.writestr(entry, file.read_bytes())


def archive(options, root):
    packer = Packer(options, root)
    top = root / ("tec-" + options.version)
    packer.program(options.cuda_program or options.program, top / "bin/tec", "$ORIGIN/../lib")
    packer.libraries(top / "lib")
    # LibTorch's look beside themselves already.
    for source in options.torch_library:
        put(source, top / "lib" / os.path.basename(source), 0o755)
    packer.licences(top / "licences")
    put(options.readme, top / "README.md")

    def plain(entry):
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with open(options.output, "wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed, \
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, path.relative_to(root), recursive=False, filter=plain)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--torch", required=True, help="its version")
    parser.add_argument("--program", required=True)
    parser.add_argument("--cuda_program", help="the same linked with LibTorch's CUDA half")
    parser.add_argument("--patchelf", required=True)
    parser.add_argument("--readme", required=True)
    parser.add_argument("--licence", required=True)
    parser.add_argument("--notice", nargs="*", default=[], help="licences of what is linked or carried")
    parser.add_argument("--library", nargs="*", default=[], help="Debian's shared libraries")
    parser.add_argument("--torch_library", nargs="*", default=[])
    parser.add_argument("--python", nargs="*", default=[])
    options = parser.parse_args()
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as root:
        (wheel if options.output.endswith(".whl") else archive)(options, pathlib.Path(root))


if __name__ == "__main__":
    main()
