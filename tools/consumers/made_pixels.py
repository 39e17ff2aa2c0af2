"""Pixels for the files of picture_files.py, and Pillow's bytes of them."""

import io

import numpy as np


def picture(height, width, channels=3, seed=0):
    """Slopes under noise: uint8 [height, width, channels], without the last axis for 1."""
    source = np.random.default_rng([height, width, channels, seed])
    y, x = np.mgrid[:height, :width]
    planes = [(x * (3 + c) + y * (5 - c) + source.integers(0, 24, (height, width))) % 256 for c in range(channels)]
    values = np.stack(planes, -1).astype(np.uint8)
    return values[..., 0] if channels == 1 else values


def saved(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()
