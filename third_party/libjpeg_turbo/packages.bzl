"""libjpeg-turbo 2.1.5: JPEG decoding with the bits that PIL gives, and encoding of made pictures."""

PACKAGES = {
    "libjpeg62-turbo-dev": [
        "1:2.1.5-2 10485411f751c24472c43b28fe24ab6389fedb027d496bbc2c831496f750ab01",
    ],
}
