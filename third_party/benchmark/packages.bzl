"""Google Benchmark: every claim about speed or memory."""

PACKAGES = {
    "libbenchmark-dev": [
        "1.7.1-1 82c9048e75f3d83b3b8a349144d5ca55487eb370b34167ffe12f8060300ed462",
    ],
    "libbenchmark1debian": [
        "1.7.1-1 59f0902a880853ef0fc658ecee85da35dd2ab03485a7cf305cad233e8b607621",
    ],
}
