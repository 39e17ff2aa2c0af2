"""Protobuf: the experiment's configuration (text format) and TensorBoard's event records."""

PACKAGES = {
    "libprotobuf-dev": [
        "3.21.12-3+deb12u1 2f045f82e4ae0bdfce7f18f1f36613b9cd8c570024b8de68668bc255c32a2d88",
    ],
    "libprotobuf32": [
        "3.21.12-3+deb12u1 e9e4e8cf0d2c48e2e3c17308e2093b3856f470b77e0022b7d906fb1b3551f213",
    ],
    "protobuf-compiler": [
        "3.21.12-3+deb12u1 698e96f08152490ee576ead6a9116e1239514de66473305473f67ce2b5408e23",
    ],
    "libprotoc32": [
        "3.21.12-3+deb12u1 27770048715fdebe3dab2f6603ca6667ac72ab474989226d2f70153522286adf",
    ],
}
