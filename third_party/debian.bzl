"""Libraries from Debian 12 packages, unpacked without installing them (no root needed).

debian_archives downloads the pinned packages and checks them (debian_packages.py says from where, and what happens when
an archive drops a version); debian_library unpacks some of them into a repository of its own.
"""

def archive_name(name):
    return name + ".deb"

def _archives_impl(ctx):
    ctx.file("pins.json", struct(**ctx.attr.packages).to_json())
    command = ["python3", str(ctx.path(ctx.attr._tool)), "fetch", "pins.json", "."]
    if ctx.os.environ.get("TEC_STRICT_PINS"):
        command.append("--strict")
    result = ctx.execute(command, timeout = 1800)
    if result.return_code:
        fail("the Debian 12 packages of third_party/*/packages.bzl could not be had:\n" + result.stdout + result.stderr)
    if result.stderr:
        # Not print(): .bazelrc hides its lines.
        ctx.execute(["sh", "-c", "echo \"$1\" >&2", "sh", result.stderr.strip()], quiet = False)
    ctx.delete("pins.json")
    ctx.file("BUILD.bazel", "exports_files(glob([\"*.deb\"]))\n")

debian_archives = repository_rule(
    implementation = _archives_impl,
    attrs = {
        "packages": attr.string_list_dict(doc = "name -> ['version sha256', ...], newest first", mandatory = True),
        "_tool": attr.label(default = "//third_party:debian_packages.py"),
    },
    # --config=strict.
    environ = ["TEC_STRICT_PINS"],
)

def _library_impl(ctx):
    for archive in ctx.attr.archives:
        result = ctx.execute(["dpkg-deb", "-x", str(ctx.path(archive)), "."])
        if result.return_code:
            fail("cannot unpack %s: %s" % (archive, result.stderr))

    # For //package. The documentation of one package is often a link to that of another.
    ctx.file("licences/BUILD.bazel", "filegroup(name = \"licences\", srcs = glob([\"*.copyright\"]), " +
                                     "visibility = [\"//visibility:public\"])\n")
    ctx.execute(["sh", "-c", "for package in usr/share/doc/*; do if [ -f $package/copyright ]; then " +
                             "cp $package/copyright licences/$(basename $package).copyright; fi; done"])
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
