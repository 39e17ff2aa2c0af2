"""Rule sets that Bazel 4.2.3 looks for by name; Debian packages them apart from Bazel."""

# repository -> ({package: "version sha256"}, folder inside it)
RULES = {
    "rules_java": (
        {
            "bazel-rules-java": [
                "4.0.0-2 0d05ed4e053d7c0d3ee0b4e77cdd93857d2757f34e031a8239323c8d0c218e18",
            ],
        },
        "usr/share/bazel/rules/java",
    ),
    "rules_proto": (
        {
            "bazel-rules-proto": [
                "4.0.0-3.20.0-2 adac2a0736ac8ea3a1e86b674c616ad76004b78a99765e6cc643aa4ba9c59e0b",
            ],
        },
        "usr/share/bazel/rules/proto",
    ),
    "bazel_skylib": (
        {
            "bazel-skylib": [
                "1.0.3-2 b7662103ceb16fedb2e348c0d6f18045eba656e3fe1e462ebcfd25efd2548db0",
            ],
        },
        "usr/share/bazel/tools/skylib",
    ),
    "platforms": (
        {
            "bazel-platforms": [
                "0.0.2-2 55424b0d6a8b5868b87445a820f2a4cb30b54d43824bab23fb8a96f5cc95da7f",
            ],
        },
        "usr/share/bazel/tools/platforms",
    ),
}
