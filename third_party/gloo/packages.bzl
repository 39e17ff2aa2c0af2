"""Gloo, headers only: LibTorch carries the library and, in the wheel, not its headers."""

PACKAGES = {
    "libgloo-dev": [
        "0.0~git20220518.5b14351-3 80529c9fd8af452faf489e686b94bf87075965c40673803810c4f41634b1e299",
    ],
}
