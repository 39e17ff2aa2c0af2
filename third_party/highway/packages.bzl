"""Highway: vector instructions chosen at run time, for the resize."""

PACKAGES = {
    "libhwy-dev": [
        "1.0.3-3+deb12u1 7db65cd6c5b43b523136f92589ce373f625ca10d569bd0201b5a0d521d8fae4d",
    ],
    "libhwy1": [
        "1.0.3-3+deb12u1 58db3098074f192d32784cf2d070f82d4e26b10d54bc723830a6b9a43be5013b",
    ],
}
