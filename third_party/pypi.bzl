"""A repository made of Python wheels that are unpacked over one another."""

_PLATFORMS = [
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_24_x86_64",
    "manylinux_2_18_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_12_x86_64",
    "manylinux2010_x86_64",
]

def _python_with_pip(ctx):
    # The first in PATH may be a virtual environment's without pip. bazelw installs Debian's pip if neither has it.
    for python in ["python3", "/usr/bin/python3"]:
        if ctx.execute([python, "-m", "pip", "--version"]).return_code == 0:
            return python
    fail("neither python3 (%s) nor /usr/bin/python3 has pip, which fetches the wheels: ./bazelw installs it, or run\n" %
         ctx.which("python3") + "  apt-get install -y --no-install-recommends python3-pip")

def _impl(ctx):
    wheels = ctx.attr.wheels
    python = _python_with_pip(ctx)

    # No cache: a download that broke off is never taken up again. Which Python the wheels are for is fixed, since it is
    # part of which file the sha256 belongs to.
    command = [python, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["-d", "wheels", "--python-version", ctx.attr.python, "--implementation", "cp"]
    for platform in _PLATFORMS:
        command += ["--platform", platform]
    result = ctx.execute(command + wheels.keys(), timeout = 3600)
    if result.return_code:
        fail("pip could not download %s:\n%s%s" % (" ".join(wheels.keys()), result.stdout, result.stderr))
    for wheel in ctx.path("wheels").readdir():
        name, version = wheel.basename.split("-")[:2]
        pin = "%s==%s" % (name.replace("_", "-"), version)
        if pin not in wheels:
            fail("pip brought %s, which is not pinned in third_party/*/packages.bzl" % wheel.basename)
        expected = wheels[pin]
        found = ctx.execute(["sha256sum", str(wheel)]).stdout.split(" ")[0]
        if found != expected:
            fail("\nwheel %s does not have the pinned content:\n  expected sha256 %s\n  found sha256    %s\n" %
                 (pin, expected, found) + "The pin is in third_party/*/packages.bzl.")
        result = ctx.execute([python, "-m", "zipfile", "-e", str(wheel), "."], timeout = 1800)
        if result.return_code:
            fail("cannot unpack %s: %s" % (wheel.basename, result.stderr))
        ctx.delete(wheel)
    ctx.delete("wheels")
    for path in ctx.attr.unwanted:
        ctx.delete(path)
    for folder in ctx.attr.executables:
        # Python's zipfile drops the run bits.
        ctx.execute(["sh", "-c", "chmod +x \"$1\"/*", "sh", folder])
    ctx.symlink(ctx.attr.build_file, "BUILD.bazel")

pypi_wheels = repository_rule(
    implementation = _impl,
    attrs = {
        "wheels": attr.string_dict(doc = "name==version -> sha256", mandatory = True),
        "build_file": attr.label(mandatory = True),
        "python": attr.string(default = "311", doc = "The version of Python that the wheels are for."),
        "unwanted": attr.string_list(doc = "Paths to delete after unpacking."),
        "executables": attr.string_list(doc = "Folders whose files are programs."),
    },
)
