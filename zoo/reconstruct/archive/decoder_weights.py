"""A network's weights: told apart by a fingerprint, and carried as far as drawing needs them."""

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
from zoo.evaluation.decoder_weight import decoder_tensors
from zoo.plugins.model_building import build, kept_state, parse_options
from zoo.plugins.registry import registry
from zoo.training.run_folder import TrainingConfig

_MOST_BESIDE, _TIMES_AS_MUCH = 256 << 20, 16


def fingerprint(path: Path) -> str:
    """SHA-256 over a weights file's tensors by name: name, type, shape and values of each.

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
    # As bytes first: NumPy has no type for some of torch's.
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def decoder_of(model: Autoencoder, latent: Tensor) -> dict[str, Tensor]:
    """The tensors that `decode` needs, by their names in the model, contiguous on the CPU.

    `latent` is that of some frames, (B, ...). What is left out is proved idle: a copy in which all
    of it is not a number draws the same. Where that fails the whole model is returned.
    """
    whole = {name: t.detach().cpu().contiguous().clone() for name, t in kept_state(model).items()}
    # Autograd says nothing of whole numbers, such as a table of codes.
    reached = decoder_tensors(model, latent[:1].clone())
    needed = {n: t for n, t in whole.items() if n in reached or not t.is_floating_point()}
    expected = _drawn(model, latent)
    idle = {name: t for name, t in whole.items() if name not in needed}
    try:
        model.load_state_dict({n: torch.full_like(t, torch.nan) for n, t in idle.items()}, False)
        same = torch.equal(_drawn(model, latent), expected)
    finally:
        model.load_state_dict(idle, strict=False)
    return needed if same else whole


@torch.inference_mode()
def _drawn(model: Autoencoder, latent: Tensor) -> Tensor:
    return model.decode(latent)


def model_of(
    config: TrainingConfig, tensors: Mapping[str, Tensor], device: torch.device, where: str
) -> Autoencoder:
    """A model that can draw, from the tensors of its decoder: in evaluation mode on the device.

    It is first built without storage, where a claim of a trillion weights takes none, and compared
    with the tensors. What they leave out stays without storage if the model allows it. Raises
    BadInput, beginning with `where`, if they do not fit or the rest would take far more than they.
    """
    architecture = registry().architecture(config.model)
    options = parse_options(architecture, config.options)
    size = FrameSize.parse(config.size)
    try:
        with torch.device("meta"), warnings.catch_warnings():
            # Pretrained weights have nowhere to go, of which torch warns tensor by tensor.
            warnings.simplefilter("ignore", UserWarning)
            model = architecture(size, options)
    except Exception:
        # Some networks read their own numbers while they are built, for which they need storage.
        model = _built(config, where)
    expected = model.state_dict()
    for name, tensor in tensors.items():
        wanted = expected.get(name)
        if wanted is None or (wanted.shape, wanted.dtype) != (tensor.shape, tensor.dtype):
            raise BadInput(f"{where}: its weights do not fit {config.model} as it is here")
    held = sum(tensor.nbytes for tensor in tensors.values())
    beside = sum(tensor.nbytes for name, tensor in expected.items() if name not in tensors)
    if beside > max(_MOST_BESIDE, _TIMES_AS_MUCH * held):
        raise BadInput(f"{where}: its model would take {beside:,} bytes besides its weights")
    laid_out = {name: _laid_out(tensor, device) for name, tensor in tensors.items()}
    computed = set(dict(model.named_buffers())) - expected.keys()
    if computed or not _is_meta(model):
        model = _built(config, where).to(device)
        model = model.to(memory_format=torch.channels_last)
    model.load_state_dict(laid_out, strict=False, assign=True)
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


def _laid_out(tensor: Tensor, device: torch.device) -> Tensor:
    """As weights lie in memory in a run's model: kernels, and last bits, depend on it."""
    form = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
    return tensor.to(device).contiguous(memory_format=form)
