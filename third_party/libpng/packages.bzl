"""libpng: PNG decoding."""

PACKAGES = {
    "libpng-dev": [
        "1.6.39-2+deb12u6 229112e7be58431e38e9c536a646bdeccc470d705b71e3286a97e567182e2643",
        "1.6.39-2+deb12u5 25649c413d02092ae7b1093a3c3ee54cbd2d4fdb0a0494787e434ccf0905903f",
    ],
}
