"""libpng: PNG decoding."""

PACKAGES = {
    "libpng-dev": "1.6.39-2+deb12u6 229112e7be58431e38e9c536a646bdeccc470d705b71e3286a97e567182e2643",
}
