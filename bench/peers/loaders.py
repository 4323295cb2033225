# SPDX-License-Identifier: Apache-2.0
"""The rivals, each in the way that its own documentation shows, and at its best.

A loader takes the model's files and returns what keeps the tensors alive.  `kept`: at the end every
tensor lies in private host memory and stays there.  `streamed`: a tensor is in memory once, and
its memory may be used again for the next one.
"""
import mmap
import os

MADV_POPULATE_WRITE = 23  # Linux 5.14; the module does not name it
STEP_BYTES = 8 << 20


def numpy_kept(files, backend):
    from safetensors.numpy import load_file
    return [load_file(path, backend=backend) for path in files]


def torch_kept(files, backend):
    from safetensors import safe_open
    kept = {}
    for path in files:
        with safe_open(path, framework="pt", backend=backend) as file:
            for name in file.keys():
                # A tensor of the mmap backend is the page cache's memory; the other's is its own.
                tensor = file.get_tensor(name)
                kept[name] = tensor.clone() if backend == "mmap" else tensor
    return kept


def torch_streamed(files, backend):
    import torch
    from safetensors import safe_open
    buffer = torch.empty(0, dtype=torch.uint8)
    for path in files:
        with safe_open(path, framework="pt", backend=backend) as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                if backend == "mmap":
                    data = tensor.reshape(-1).view(torch.uint8)
                    if buffer.numel() < data.numel():
                        buffer = torch.empty(data.numel(), dtype=torch.uint8)
                    buffer[:data.numel()].copy_(data)


def fastsafetensors_kept(files):
    from fastsafetensors import SafeTensorsFileLoader
    loader = SafeTensorsFileLoader(None, device="cpu", nogds=True)
    loader.add_filenames({0: files})
    memory = loader.copy_files_to_device()
    return loader, memory, {name: memory.get_tensor(name) for name in loader.get_keys()}


def fastsafetensors_streamed(files):
    for path in files:
        loader, memory, _ = fastsafetensors_kept([path])
        memory.close()
        loader.close()


def runai(files, owned):
    from runai_model_streamer import SafetensorsStreamer
    kept = {}
    with SafetensorsStreamer() as streamer:
        streamer.stream_files(files, owned=owned)
        for name, tensor in streamer.get_tensors():
            if owned:
                kept[name] = tensor
    return kept


def fresh_memory(files, advice):
    """No loader: only the memory that one needs, touched.  Nobody who keeps tensors pays less."""
    size = sum(os.path.getsize(path) for path in files)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(advice)
    for start in range(0, size, STEP_BYTES):
        memory.madvise(MADV_POPULATE_WRITE, start, min(STEP_BYTES, size - start))
    return memory


# Name: (kept or streamed, modules to import before the clock starts, loader).
LOADERS = {
    "safetensors, numpy, mmap": (
        "kept", ["safetensors.numpy", "ml_dtypes"], lambda files: numpy_kept(files, "mmap")),
    "safetensors, numpy, pread": (
        "kept", ["safetensors.numpy", "ml_dtypes"], lambda files: numpy_kept(files, "pread")),
    "safetensors, torch, mmap and clone()": (
        "kept", ["torch", "safetensors"], lambda files: torch_kept(files, "mmap")),
    "safetensors, torch, pread": (
        "kept", ["torch", "safetensors"], lambda files: torch_kept(files, "pread")),
    "fastsafetensors, nogds": (
        "kept", ["torch", "fastsafetensors"], fastsafetensors_kept),
    "Run:ai Model Streamer, owned": (
        "kept", ["torch", "runai_model_streamer"], lambda files: runai(files, True)),
    "safetensors, torch, mmap into one buffer": (
        "streamed", ["torch", "safetensors"], lambda files: torch_streamed(files, "mmap")),
    "safetensors, torch, pread, dropped": (
        "streamed", ["torch", "safetensors"], lambda files: torch_streamed(files, "pread")),
    "fastsafetensors, nogds, file by file": (
        "streamed", ["torch", "fastsafetensors"], fastsafetensors_streamed),
    "Run:ai Model Streamer, not owned": (
        "streamed", ["torch", "runai_model_streamer"], lambda files: runai(files, False)),
}

# Measured like loaders, but floors under all of them.
FLOORS = {
    "fresh memory alone, 4 KiB pages": (
        "kept", [], lambda files: fresh_memory(files, mmap.MADV_NOHUGEPAGE)),
    "fresh memory alone, 2 MiB pages": (
        "kept", [], lambda files: fresh_memory(files, mmap.MADV_HUGEPAGE)),
}
