"""TEC from Python: `tec.run` starts its programs, `tec.load_encoder` opens what they trained. The training itself is in
the programs; none of it is here."""

import importlib.metadata
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Dict, Sequence, Tuple, Union

if TYPE_CHECKING:
    import timm.models.vision_transformer

__all__ = ["load_encoder", "run"]
__version__ = importlib.metadata.version("tec-pretrain")

_Path = Union[str, "os.PathLike[str]"]
_TORCH = "2.11."
_FOLDER = pathlib.Path(__file__).resolve().parent


def _program() -> Tuple[pathlib.Path, Dict[str, str]]:
    """The program, and the environment in which it finds LibTorch. RuntimeError without the PyTorch that it is linked
    with."""
    spec = importlib.util.find_spec("torch")
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    if spec is None or not spec.submodule_search_locations or not version.startswith(_TORCH):
        raise RuntimeError(f"tec needs PyTorch {_TORCH}*, whose libraries it uses, and finds {version}: "
                           f"pip install 'torch=={_TORCH}*'")
    torch = pathlib.Path(spec.submodule_search_locations[0])
    has_cuda = (torch / "lib" / "libtorch_cuda.so").exists() and (_FOLDER / "bin" / "cuda" / "tec").exists()
    environment = dict(os.environ)
    if torch.parent != _FOLDER.parent:
        # In another folder of packages than this one; beside it, the program finds PyTorch by itself. The rest of
        # NVIDIA's libraries PyTorch's own know of.
        folders = [str(torch / "lib"), str(torch.parent / "nvidia" / "cu13" / "lib"),
                   environment.get("LD_LIBRARY_PATH")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, folders))
    return _FOLDER / "bin" / ("cuda" if has_cuda else "cpu") / "tec", environment


def run(arguments: Sequence[_Path], check: bool = True) -> int:
    """Runs `tec ARGUMENTS...`, for example `tec.run(["knn", "--checkpoint=a.pth", "--data_path=pictures"])`.

    Returns its exit code: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request after saving. Raises
    subprocess.CalledProcessError if that is not 0, unless `check` is False. It prints to this process's own standard
    output and error."""
    program, environment = _program()
    return subprocess.run([os.fspath(program), *map(os.fspath, arguments)], env=environment, check=check).returncode


def load_encoder(path: _Path, heads: int = 0) -> "timm.models.vision_transformer.VisionTransformer":
    """The encoder of a weight file as a timm model in eval mode: of a run of this project or the paper's code, or of
    any other file that `tec inspect` knows.

    model.pretrained_cfg holds the mean and deviation that it was trained with, for timm.data.resolve_model_data_config.
    It has no classifier: model(images) is its pooled feature (N, C), model.forward_features(images) its tokens
    (N, T, C). `heads`: of a file that does not tell them; 0: the usual number for its width, which is then said on
    standard error. Needs timm; raises subprocess.CalledProcessError, after the reason on standard error, if the file is
    refused."""
    import timm

    with tempfile.TemporaryDirectory() as folder:
        program, environment = _program()
        command = [os.fspath(program), "convert", "--resume", os.fspath(path), "--to=timm", "--nohead", "--output_dir",
                   folder] + ([f"--heads={heads}"] if heads else [])
        report = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        if "assumed" in report:
            print(report, end="", file=sys.stderr)
        return timm.create_model("local-dir:" + folder, pretrained=True).eval()


def _main() -> None:
    """The command `tec`: becomes the program."""
    try:
        program, environment = _program()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    os.execve(program, ["tec", *sys.argv[1:]], environment)
