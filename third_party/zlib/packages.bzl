"""zlib: inflate for PNG and old checkpoints, CRC-32 of a checkpoint's zip members."""

PACKAGES = {
    "zlib1g-dev": [
        "1:1.2.13.dfsg-1 f9ce531f60cbd5df37996af9370e0171be96902a17ec2bdbd8d62038c354094f",
    ],
}
