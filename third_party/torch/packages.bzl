"""LibTorch: tensors, autograd and c10d, from the wheel that holds the C++ libraries and headers.

libtorch_cpu.so needs the CUDA runtime and CUPTI to load, even where there is no GPU.
"""

LIBTORCH_WHEELS = {
    "torch==2.11.0": "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
    "nvidia-cuda-runtime==13.0.96": "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    "nvidia-cuda-cupti==13.0.85": "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
}
