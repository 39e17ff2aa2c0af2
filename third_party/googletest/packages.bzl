"""GoogleTest and GoogleMock: every test."""

PACKAGES = {
    "libgtest-dev": [
        "1.12.1-0.2 1dbf34692561ea744d827af133c2266640a2f2cda30abfaa610eed1a7e8609d9",
    ],
    "libgmock-dev": [
        "1.12.1-0.2 ffe5958a13f30657cb5e5af4e24bfa6ab6b633391f1a945607799192b52b4530",
    ],
    "googletest": [
        "1.12.1-0.2 927be72067517da503b6538026d451455c9e860f5dbfe237f792543db7d5a928",
    ],
}
