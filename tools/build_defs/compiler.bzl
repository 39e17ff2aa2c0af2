"""@compiler: what depends on the compiler that will be used: warnings that not every one has, and whether a warning is
an error."""

# GCC 13 has it in -Wall and from 14 on in -Wextra alone, which files that see LibTorch go without.
_WANTED = ["-Wdangling-reference"]

# Warnings are errors with the compilers that everything is tested with. Each new one finds things of its own, in code
# that is right and in LibTorch's headers (GCC 14: -Warray-bounds in a std::vector<bool>), which must keep nobody from
# building.
_TESTED = """
#if defined(__clang__) || __GNUC__ > 12
#error another compiler
#endif
"""

def _impl(ctx):
    # As Bazel itself finds it.
    compiler = ctx.os.environ.get("CC", "gcc")
    ctx.file("empty.cc", "")
    known = []
    for option in _WANTED:
        probe = [compiler, "-Werror", option, "-fsyntax-only", "empty.cc"]
        if ctx.execute(probe).return_code == 0:
            known.append(option)
    ctx.file("tested.cc", _TESTED)
    tested = ctx.execute([compiler, "-fsyntax-only", "tested.cc"]).return_code == 0
    errors = ["-Werror"] if tested else []
    ctx.file("gcc.cc", "#ifdef __clang__\n#error clang\n#endif\n")
    gcc = ctx.execute([compiler, "-fsyntax-only", "gcc.cc"]).return_code == 0
    ctx.file("options.bzl", "WARNINGS = %s\nERRORS = %s\nPRECOMPILES = %s\n" % (known, errors, gcc))
    ctx.file("BUILD.bazel", "")

compiler_options = repository_rule(
    implementation = _impl,
    configure = True,
    environ = ["CC"],
)
