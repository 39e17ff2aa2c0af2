"""libjpeg-turbo 3.1.0: JPEG decoding with the bits that Pillow gives, and encoding of made pictures.

Debian 12 has 2.1.5, which smooths the blocks of progressive files that lack scans in another way (libjpeg-turbo#721).
The wheel holds the static library with its vector code, and its headers; nothing of Python.
"""

WHEELS = {
    "comma-deps-libjpeg==3.1.0.post92": "b47ff662cabd8a0c564fd12f64de451a8806990d80712193b6cd7c23fba2ce6f",
}
