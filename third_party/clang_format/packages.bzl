"""clang-format: the formatting that tools/lint asks for; other versions format otherwise."""

WHEELS = {
    "clang-format==14.0.6": "d7c1c5e404c58e55f0170f01b3c5611dce6c119e62b5d1020347e0ad97d5a047",
}
