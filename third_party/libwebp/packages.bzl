"""libwebp: WebP decoding."""

PACKAGES = {
    "libwebp-dev": [
        "1.2.4-0.2+deb12u1 a9d07a8423e462babc947dd5745875a58c450fd5ca5c4493dbabe17387f97d89",
    ],
}
