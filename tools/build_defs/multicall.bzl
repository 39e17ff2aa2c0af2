"""One binary with several programs in it, chosen by its first argument."""

load("//tools/build_defs:tec.bzl", "tec_cc_library")

def _archive(library):
    return library.pic_static_library or library.static_library

def _program_object_impl(ctx):
    main = ctx.attr.main
    own, others, kept = [], [], []
    for linked in main[CcInfo].linking_context.linker_inputs.to_list():
        if linked.owner == main.label:
            own += [_archive(library) for library in linked.libraries]
            continue
        kept.append(linked)

        # Flags of libraries from elsewhere (Abseil's own), and of those that are linked in any case, are there once for
        # all programs.
        if not linked.owner.workspace_name:
            others += [_archive(library) for library in linked.libraries if not library.alwayslink]
    others = [archive for archive in others if archive]
    object = ctx.actions.declare_file(ctx.label.name + ".pic.o")
    args = ctx.actions.args()
    args.add(object)
    args.add("tec_main_" + ctx.attr.id)
    args.add("tec_init_" + ctx.attr.id)
    args.add_all(own)
    args.add("--")
    args.add_all(others)
    ctx.actions.run(
        executable = ctx.executable._tool,
        arguments = [args],
        inputs = own + others,
        outputs = [object],
        mnemonic = "PrivateObject",
        progress_message = "Making a subcommand of %s" % main.label,
        use_default_shell_env = True,
    )
    linking_context = cc_common.create_linking_context(linker_inputs = depset(kept, order = "topological"))
    return [
        DefaultInfo(files = depset([object])),
        CcInfo(linking_context = linking_context),
    ]

_program_object = rule(
    implementation = _program_object_impl,
    attrs = {
        "main": attr.label(mandatory = True, providers = [CcInfo]),
        "id": attr.string(mandatory = True),
        "_tool": attr.label(
            default = "//tools/build_defs:private_object.py",
            allow_single_file = True,
            executable = True,
            cfg = "host",
        ),
    },
)

def tec_multicall_binary(name, programs, main, for_cuda = [], **kwargs):
    """The programs of several tec_cc_binary targets in one binary, which shares what they share.

    programs: (subcommand, target, what it does in a few words) of each.
    main: the library with main() of the binary itself, which includes "programs.inc": TEC_PROGRAM(identifier,
    subcommand, what it does) of each program. int tec_main_<identifier>(int, char**) is the program's main(); the
    functions from __start_tec_init_<identifier> to __stop_tec_init_<identifier> have to be called before it.

    for_cuda: the libraries that are others for CUDA, as <library>_for_cuda (tec_cc_library). <name>_cuda is the binary
    with them; all else is compiled once for both, so that one build gives them side by side."""
    lines, objects = [], []
    for subcommand, target, text in programs:
        id = subcommand.replace("-", "_")
        lines.append("TEC_PROGRAM(%s, \"%s\", \"%s\")" % (id, subcommand, text))
        _program_object(
            name = "%s_%s" % (name, id),
            main = target + "_main",
            id = id,
        )
        objects.append(":%s_%s" % (name, id))
    native.genrule(
        name = name + "_programs",
        outs = ["programs.inc"],
        cmd = "cat > $@ <<'END'\n%s\nEND" % "\n".join(lines),
    )
    native.cc_binary(
        name = name,
        srcs = objects,
        deps = objects + main + ["//tec/base:startup"],
        **kwargs
    )
    if for_cuda:
        native.cc_binary(
            name = name + "_cuda",
            srcs = objects,
            # In the place of the same libraries without CUDA, which come with the objects: these stand before them.
            deps = for_cuda + objects + main + ["//tec/base:startup"],
            tags = ["manual"],
            **kwargs
        )
