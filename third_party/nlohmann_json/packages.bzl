"""nlohmann-json: log.txt, metrics.jsonl, safetensors headers and result files."""

PACKAGES = {
    "nlohmann-json3-dev": [
        "3.11.2-2 ec57940def6b6186c30be0e0ee81d1e58f86d11a54a145b28686a1e3e4aae801",
    ],
}
