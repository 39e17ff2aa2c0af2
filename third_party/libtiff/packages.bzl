"""libtiff: TIFF decoding, with the libraries of the compressions that it knows."""

PACKAGES = {
    "libtiff-dev": [
        "4.5.0-6+deb12u4 3872494f724cfd3cef0f99377629ca4057c59b15e5699f1612ad78591aa6a6a2",
    ],
    "libdeflate-dev": [
        "1.14-1 8b3fd9dc5a942a8b4bf4f91e618575842a4e9112970eebfed3c4d8bfb40b1ef5",
    ],
    "liblerc-dev": [
        "4.0.0+ds-2 4071e713e4d856bcaceb9cb8a8a00de65edcad1153470bd012ab9f3ce0df1140",
    ],
    "liblzma-dev": [
        "5.4.1-1+deb12u2 8fba549e7a6819bb5758fc9b7d601a82963e6cdc222043d06a989312604bbc55",
        "5.4.1-1+deb12u1 0f30921b4b7ce6baa8565f2b83145158267fb77c654aa431a6fea1e239019e1f",
    ],
    "libzstd-dev": [
        "1.5.4+dfsg2-5+deb12u1 c60334929a7e6407ab92ae0d3bdede3f15ece2e7cb0a8d3b940b415f5c4c809e",
        "1.5.4+dfsg2-5 5d079cf5f96b724c97a611630ea428a1ebe793746db7bbf6e1455803b962b4ea",
    ],
}
