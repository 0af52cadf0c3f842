"""Decoder weights of a film file: fingerprinted, extracted from a model, and loaded into one."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.untrusted_files import check_tensors
from zoo.evaluation.model_summary import decoder_tensors
from zoo.plugins.model_building import build, inference_state, parse_options, placed
from zoo.plugins.registry import registry
from zoo.training.run_folder import TrainingConfig

_MOST_OTHERS, _TIMES_AS_MUCH = 256 << 20, 16


def weights_fingerprint(path: Path) -> str:
    """SHA-256 over the tensors of a weights file, sorted by name: name, type, shape and values.

    Raises BadInput if the file is not there or damaged.
    """
    hashed = hashlib.sha256()
    try:
        check_tensors(path)
        with safe_open(path, "pt") as file:
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name)
                shape = "x".join(map(str, tensor.shape))
                hashed.update(f"{name}:{tensor.dtype}:{shape};".encode())
                hashed.update(_bytes_of(tensor))
    except (SafetensorError, OSError, BadInput) as error:
        raise BadInput(f"{path} holds no weights: {error}") from None
    return hashed.hexdigest()


def _bytes_of(tensor: Tensor) -> bytes:
    # As bytes first: NumPy lacks some of torch's types.
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def decoder_tensors_of(model: Autoencoder, latent: Tensor) -> dict[str, Tensor]:
    """The tensors that `decode` needs, by their names in the model, contiguous on the CPU.

    `latent` are latents of some frames, (B, ...). The other tensors are checked to be unused: with
    NaN in all of them the model decodes the same. If it does not, all tensors are returned.
    """
    whole = {
        name: t.detach().cpu().contiguous().clone() for name, t in inference_state(model).items()
    }
    # Autograd does not cover integer tensors, such as a table of codes.
    reached = decoder_tensors(model, latent[:1].clone())
    needed = {n: t for n, t in whole.items() if n in reached or not t.is_floating_point()}
    expected = _decoded(model, latent)
    unused = {name: t for name, t in whole.items() if name not in needed}
    try:
        model.load_state_dict({n: torch.full_like(t, torch.nan) for n, t in unused.items()}, False)
        same = torch.equal(_decoded(model, latent), expected)
    finally:
        model.load_state_dict(unused, strict=False)
    return needed if same else whole


@torch.inference_mode()
def _decoded(model: Autoencoder, latent: Tensor) -> Tensor:
    return model.decode(latent)


def model_from_decoder(
    config: TrainingConfig, tensors: Mapping[str, Tensor], device: torch.device, where: str
) -> Autoencoder:
    """A model that can decode, from the tensors of its decoder: in evaluation mode on the device.

    It is first built on the meta device, where a claim of a trillion weights takes no memory, and
    compared with the tensors. The other tensors stay there if the model allows it. Raises BadInput,
    beginning with `where`, if the tensors do not fit or the others would take far more memory.
    """
    architecture = registry().architecture(config.model)
    options = parse_options(architecture, config.options)
    size = FrameSize.parse(config.size)
    try:
        with torch.device("meta"), warnings.catch_warnings():
            # torch warns of each pretrained tensor that it does not copy to the meta device.
            warnings.simplefilter("ignore", UserWarning)
            model = architecture(size, options)
    except Exception:
        # Some models read their own tensors while they are built, which needs memory.
        model = _built(config, where)
    expected = model.state_dict()
    for name, tensor in tensors.items():
        wanted = expected.get(name)
        if wanted is None or (wanted.shape, wanted.dtype) != (tensor.shape, tensor.dtype):
            raise BadInput(f"{where}: its weights do not fit {config.model} as it is here")
    held = sum(tensor.nbytes for tensor in tensors.values())
    others = sum(tensor.nbytes for name, tensor in expected.items() if name not in tensors)
    if others > max(_MOST_OTHERS, _TIMES_AS_MUCH * held):
        raise BadInput(f"{where}: its model would take {others:,} bytes besides its weights")
    ready = {name: _in_memory_format(tensor, device) for name, tensor in tensors.items()}
    computed = set(dict(model.named_buffers())) - expected.keys()
    if computed or not _is_meta(model):
        model = placed(_built(config, where), device)
    model.load_state_dict(ready, strict=False, assign=True)
    return model.eval()


def _built(config: TrainingConfig, where: str) -> Autoencoder:
    architecture = registry().architecture(config.model)
    try:
        return build(architecture, FrameSize.parse(config.size), config.options)
    except (RuntimeError, MemoryError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
        raise BadInput(f"{where}: its {config.model} cannot be built: {why}") from None


def _is_meta(model: Autoencoder) -> bool:
    return all(tensor.is_meta for tensor in model.state_dict().values())


def _in_memory_format(tensor: Tensor, device: torch.device) -> Tensor:
    """The memory format of a run's model, on which kernels and the last bits depend."""
    form = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
    return tensor.to(device).contiguous(memory_format=form)
