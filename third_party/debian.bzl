"""Libraries from Debian 12 packages, unpacked without installing them (no root needed).

debian_archives downloads the pinned packages in one go and checks them; debian_library unpacks some of them into a
repository of its own.
"""

_DOWNLOAD = """
set -eu
options="-o Dir::State::Lists=$PWD/apt/lists -o Dir::Cache=$PWD/apt/cache -o APT::Sandbox::User=$(id -un) -qq"
mkdir -p apt/lists/partial apt/cache/archives/partial
apt-get $options update
apt-get $options download "$@"
"""

def archive_name(name):
    return name + ".deb"

def _archives_impl(ctx):
    wanted = []
    for name, pin in ctx.attr.packages.items():
        wanted.append("%s=%s" % (name, pin.split(" ")[0]))
    result = ctx.execute(["sh", "-c", _DOWNLOAD, "sh"] + wanted, timeout = 1800)
    if result.return_code:
        fail("apt-get could not download the Debian 12 packages pinned in third_party/*/packages.bzl:\n" +
             result.stdout + result.stderr)
    for file in ctx.path(".").readdir():
        if not file.basename.endswith(".deb"):
            continue
        name = file.basename.split("_")[0]
        version, expected = ctx.attr.packages[name].split(" ")
        found = ctx.execute(["sha256sum", str(file)]).stdout.split(" ")[0]
        if found != expected:
            fail("\nDebian package %s %s does not have the pinned content:\n" % (name, version) +
                 "  expected sha256 %s\n  found sha256    %s\n" % (expected, found) +
                 "The pin is in third_party/*/packages.bzl.")
        ctx.execute(["mv", str(file), archive_name(name)])
    ctx.delete("apt")
    ctx.file("BUILD.bazel", "exports_files(glob([\"*.deb\"]))\n")

debian_archives = repository_rule(
    implementation = _archives_impl,
    attrs = {"packages": attr.string_dict(doc = "name -> 'version sha256'", mandatory = True)},
)

def _library_impl(ctx):
    for archive in ctx.attr.archives:
        result = ctx.execute(["dpkg-deb", "-x", str(ctx.path(archive)), "."])
        if result.return_code:
            fail("cannot unpack %s: %s" % (archive, result.stderr))
    if ctx.attr.strip_prefix:
        result = ctx.execute(["sh", "-c", "cp -r \"$1\"/. .", "sh", ctx.attr.strip_prefix])
        if result.return_code:
            fail("%s is not in %s: %s" % (ctx.attr.strip_prefix, ctx.attr.archives, result.stderr))
        ctx.delete("usr")
    if ctx.attr.build_file:
        ctx.delete("BUILD")
        ctx.symlink(ctx.attr.build_file, "BUILD.bazel")

debian_library = repository_rule(
    implementation = _library_impl,
    attrs = {
        "archives": attr.label_list(doc = "Files of a debian_archives repository.", mandatory = True),
        "build_file": attr.label(doc = "The repository's root BUILD file; none: the package brings its own."),
        "strip_prefix": attr.string(doc = "A folder of the packages that becomes the repository's root."),
    },
)
