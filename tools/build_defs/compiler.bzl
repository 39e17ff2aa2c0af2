"""@compiler: warnings that not every compiler has, as options for the one that will be used."""

# GCC 13 has it in -Wall and from 14 on in -Wextra alone, which files that see LibTorch go without.
_WANTED = ["-Wdangling-reference"]

def _impl(ctx):
    # As Bazel itself finds it.
    compiler = ctx.os.environ.get("CC", "gcc")
    ctx.file("empty.cc", "")
    known = []
    for option in _WANTED:
        probe = [compiler, "-Werror", option, "-fsyntax-only", "empty.cc"]
        if ctx.execute(probe).return_code == 0:
            known.append(option)
    ctx.file("options.bzl", "WARNINGS = %s\n" % repr(known))
    ctx.file("BUILD.bazel", "")

compiler_options = repository_rule(
    implementation = _impl,
    configure = True,
    environ = ["CC"],
)
