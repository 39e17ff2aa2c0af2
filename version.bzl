"""The version: of every program's --version, of the wheel and the archive, and in what they write."""

VERSION = "0.1.0"
