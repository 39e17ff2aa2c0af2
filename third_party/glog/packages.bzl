"""glog: the log, behind tec/base/logging.h; gflags and libunwind are what it needs to run."""

PACKAGES = {
    "libgoogle-glog-dev": [
        "0.6.0-2 b9f9cb0ac276d12906dc290edc6e3092b0f55381934c013de6fa21722ad7c8da",
    ],
    "libgoogle-glog0v6": [
        "0.6.0-2 72bbbd09f325cb770d638a9e2c94eb978f1ae2266c1e7e4b152c8f8acd9970e5",
    ],
    "libgflags-dev": [
        "2.2.2-2 055ca9ee17b57159926eea04ee32da8d3332c4e24e3bf028276d89106a75418a",
    ],
    "libgflags2.2": [
        "2.2.2-2 288af17a1d3a0955f56c8347ea81bd33534add8b22c5b1b4771d8ac1c85b5ba0",
    ],
    "libunwind8": [
        "1.6.2-3 7b297868682836e4c87be349f17e4a56bc287586e3576503e84a5cb5485ce925",
    ],
    "liblzma5": [
        "5.4.1-1+deb12u2 3d8c29c8c21ec6007635e1b2591edf98b771c9572a085968f47452b33040f384",
        "5.4.1-1+deb12u1 f96d8876b53ec89d76a992bc199679b818cf518225a768954d9451fb556a4eb7",
    ],
}
