"""Abseil: status, strings, flags, time and formatting for all that is not a tensor. Debian's is 20220623."""

PACKAGES = {
    "libabsl-dev": [
        "20220623.1-1+deb12u2 24cdc091cd8e88754401f9d18e3be3d354ef96c453934ff138106fcb0245958b",
    ],
}
