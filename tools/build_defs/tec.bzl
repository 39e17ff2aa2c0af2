"""The project's build rules. A BUILD file says what is particular to a target; what is common to all stands here."""

_COPTS = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-sign-compare",
    "-Wno-unused-parameter",
]

# LibTorch's own headers do not survive -Wextra; --copt=-isystem would need a toolchain of our own.
_TORCH_COPTS = [
    "-Wall",
    "-Werror",
    "-Wno-sign-compare",
    "-Wno-unused-function",
    "-Wno-unknown-pragmas",
]

TORCH = "@libtorch//:torch"

def _copts(torch, copts):
    return (_TORCH_COPTS if torch else _COPTS) + copts

def _torch_deps(torch):
    # Under --config=cuda a LibTorch with its CUDA half takes the place of the CPU one.
    if not torch:
        return []
    return select({
        "//tools/build_defs:cuda": ["@cuda_libraries//:torch_cuda"],
        "//conditions:default": [TORCH],
    })

def tec_cc_library(name, torch = False, copts = [], deps = [], **kwargs):
    """A library. torch = True: it sees LibTorch; leave it False wherever no tensor is needed."""
    native.cc_library(
        name = name,
        copts = _copts(torch, copts),
        deps = deps + _torch_deps(torch),
        **kwargs
    )

def tec_cc_binary(name, torch = False, copts = [], deps = [], **kwargs):
    native.cc_binary(
        name = name,
        copts = _copts(torch, copts),
        deps = deps + _torch_deps(torch),
        **kwargs
    )

def tec_cc_test(name, torch = False, copts = [], deps = [], tags = [], size = "small", main = True, **kwargs):
    """A GoogleTest test; tagged "torch" if it links LibTorch, which the sanitizer configurations leave out.

    main = False: the test brings its own main()."""
    native.cc_test(
        name = name,
        size = size,
        copts = _copts(torch, copts),
        tags = tags + (["torch"] if torch else []),
        deps = deps + _torch_deps(torch) + ["@googletest//:gtest_main" if main else "@googletest//:gtest"],
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
