"""The project's build rules. A BUILD file says what is particular to a target; what is common to all stands here."""

load("@compiler//:options.bzl", "ERRORS", "PRECOMPILES", "WARNINGS")

_COPTS = [
    "-Wall",
    "-Wextra",
] + ERRORS + [
    "-Wno-sign-compare",
    "-Wno-unused-parameter",
]

# LibTorch's own headers do not survive -Wextra; --copt=-isystem would need a toolchain of our own.
_TORCH_COPTS = [
    "-Wall",
] + ERRORS + [
    "-Wno-sign-compare",
    "-Wno-unused-function",
    "-Wno-unknown-pragmas",
]

_NVCC_OPTS = [
    "-std=c++17",
    "-O3",
    "-I.",
    "-ccbin=g++",
    "-cudart=shared",
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=[sm_90,compute_90]",
    "-Werror=all-warnings",
    "-Xcompiler=-fPIC,-O2,-Wall,-march=x86-64-v3",
]

TORCH = "//third_party/torch"
TORCH_CUDA = "@cuda_libraries//:torch_cuda"

def _copts(torch, copts):
    return (_TORCH_COPTS if torch else _COPTS) + WARNINGS + copts

def _torch_deps(torch):
    # Under --config=cuda a LibTorch with its CUDA half takes the place of the CPU one.
    if not torch:
        return []
    return select({
        "//tools/build_defs:cuda": [TORCH_CUDA],
        "//conditions:default": [TORCH],
    })

def _precompiled(torch, copts):
    """(copts, deps) of sources that begin with LibTorch's precompiled headers, which those with options of their own
    cannot. Under --config=cuda none does, so that an #include that one of them lacks shows somewhere."""
    if not torch or not PRECOMPILES or [option for option in copts if option != "-fopenmp"]:
        return [], []
    name = "precompiled_headers_openmp" if "-fopenmp" in copts else "precompiled_headers"
    include = ["-include", "third_party/torch/%s.h" % name, "-Winvalid-pch", "-Wno-error=invalid-pch"]
    return _but_cuda(include), _but_cuda(["//third_party/torch:" + name])

def _but_cuda(values):
    return select({
        "//tools/build_defs:cuda": [],
        "//conditions:default": values,
    })

def _cuda_only(values):
    return select({
        "//tools/build_defs:cuda": values,
        "//conditions:default": [],
    })

# Of the same library or kernels for CUDA, whatever the configuration.
_FOR_CUDA = "_for_cuda"

def tec_cc_library(
        name,
        torch = False,
        parallel = False,
        copts = [],
        deps = [],
        cuda = False,
        cuda_deps = [],
        **kwargs):
    """A library. torch = True: it sees LibTorch; leave it False wherever no tensor is needed.

    parallel = True: at::parallel_for takes LibTorch's threads (//tec/nn:parallel); without it is a plain loop.

    cuda = True: it has something to say of CUDA, where the macro TEC_CUDA is defined, which under --config=cuda it is.
    cuda_deps: the tec_cuda_library targets that it then depends on. <name>_for_cuda is the same compiled for CUDA in
    every configuration, for a program that has to hold both (tec_multicall_binary)."""
    if parallel:
        copts = copts + ["-fopenmp"]
        deps = deps + ["//tec/nn:parallel"]
    precompiled_copts, precompiled_deps = _precompiled(torch, copts)
    native.cc_library(
        name = name,
        copts = _copts(torch, copts) + precompiled_copts,
        deps = deps + _torch_deps(torch) + precompiled_deps + _cuda_only(cuda_deps),
        **kwargs
    )
    if cuda or cuda_deps:
        native.cc_library(
            name = name + _FOR_CUDA,
            copts = _copts(torch, copts),
            deps = deps + [TORCH_CUDA] + [dep + _FOR_CUDA for dep in cuda_deps],
            # It is linked in the place of `name`, whose objects are then not asked for.
            alwayslink = True,
            # //... must not fetch CUDA.
            tags = ["manual"],
            **dict(kwargs, linkstatic = True, visibility = ["//tec/command:__pkg__"])
        )

def tec_cuda_library(name, srcs, hdrs, **kwargs):
    """Kernels: .cu files behind headers that a C++ compiler understands too. For the cuda_deps of a tec_cc_library.

    A .cu file sees the standard library, CUDA's headers and `hdrs`; it is compiled for sm_80 and sm_90, and as PTX for
    what comes after them."""
    archive = "lib%s_kernels.a" % name
    native.genrule(
        name = name + "_compile",
        srcs = srcs + hdrs,
        outs = [archive],
        cmd = """
            objects=$$(mktemp -d); trap 'rm -rf $$objects' EXIT
            for source in %s; do
              $(location @cuda_compiler//:nvcc) -c $$source -o $$objects/$$(basename $$source).o %s || exit 1
            done
            ar rcsD $@ $$objects/*.o""" % (" ".join(["$(location %s)" % src for src in srcs]), " ".join(_NVCC_OPTS)),
        # Only --config=cuda asks for it, by the select below: //... must not fetch nvcc.
        tags = ["manual"],
        tools = [
            "@cuda_compiler//:nvcc",
            "@cuda_compiler//:toolkit",
        ],
        visibility = ["//visibility:private"],
    )
    native.cc_library(
        name = name,
        srcs = _cuda_only([archive]),
        hdrs = hdrs,
        deps = _torch_deps(True),
        **kwargs
    )
    native.cc_library(
        name = name + _FOR_CUDA,
        srcs = [archive],
        hdrs = hdrs,
        deps = [TORCH_CUDA],
        tags = ["manual"],
        **kwargs
    )

def tec_cc_binary(name, srcs = [], torch = False, copts = [], deps = [], testonly = False, visibility = None, **kwargs):
    """A program. <name>_main, the library with its main(), is what //tec/command makes a subcommand of; without srcs
    main() is in deps."""
    command = ["//tec/command:__pkg__"]
    if visibility and "//visibility:public" not in visibility:
        visibility = visibility + command
    if srcs:
        tec_cc_library(
            name = name + "_main",
            testonly = testonly,
            srcs = srcs,
            torch = torch,
            copts = copts,
            deps = deps,
            linkstatic = True,
            visibility = command,
            alwayslink = True,
        )
    native.cc_binary(
        name = name,
        testonly = testonly,
        deps = ([":%s_main" % name] if srcs else deps + _torch_deps(torch)) + ["//tec/base:startup"],
        visibility = visibility,
        **kwargs
    )

def tec_cc_test(name, torch = False, copts = [], deps = [], tags = [], size = "small", main = True, **kwargs):
    """A GoogleTest test; tagged "torch" if it links LibTorch, which the sanitizer configurations leave out.

    main = False: the test brings its own main()."""
    precompiled_copts, precompiled_deps = _precompiled(torch, copts)
    native.cc_test(
        name = name,
        size = size,
        copts = _copts(torch, copts) + precompiled_copts,
        tags = tags + (["torch"] if torch else []),
        deps = deps + _torch_deps(torch) + precompiled_deps + [
            "@googletest//:gtest_main" if main else "@googletest//:gtest",
        ],
        **kwargs
    )

def tec_cc_benchmark(name, torch = False, copts = [], deps = [], **kwargs):
    """A Google Benchmark program. Run it with ./bazelw run; it is no test."""
    tec_cc_binary(
        name = name,
        torch = torch,
        copts = copts,
        deps = deps + ["@benchmark"],
        **kwargs
    )

def tec_proto_library(name, src, imports = [], deps = [], **kwargs):
    """One .proto file (proto3) and its C++ code as a cc_library.

    imports: the .proto files that src imports; deps: the tec_proto_library targets of those."""
    stem = src[:-len(".proto")]
    native.genrule(
        name = name + "_generate",
        srcs = [src] + imports,
        outs = [stem + ".pb.cc", stem + ".pb.h"],
        cmd = "LD_LIBRARY_PATH=$$(dirname $$(echo $(locations @protobuf//:protoc_libraries) | cut -d' ' -f1)) " +
              "$(location @protobuf//:protoc) --cpp_out=$(GENDIR) -I. $(location " + src + ")",
        tools = [
            "@protobuf//:protoc",
            "@protobuf//:protoc_libraries",
        ],
    )
    native.cc_library(
        name = name,
        srcs = [stem + ".pb.cc"],
        hdrs = [stem + ".pb.h"],
        deps = deps + ["@protobuf"],
        **kwargs
    )
