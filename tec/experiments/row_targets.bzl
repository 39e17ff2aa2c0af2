"""The run targets of a row of the paper's table."""

_PROGRAMS = {
    "pretrain": "//tec:pretrain",
    "finetune": "//eval/finetune",
    "reproduce": "//eval/reproduce",
}

def row_targets(row):
    """ROW.pretrain, ROW.finetune and ROW.reproduce: those programs with the row's settings; flags may follow."""
    for step, program in _PROGRAMS.items():
        native.sh_binary(
            name = row + "." + step,
            # It knows the row and the step by its own name. A target's `args` would be lost outside `bazel run`.
            srcs = ["row.sh"],
            data = [program],
            visibility = ["//visibility:public"],
        )
