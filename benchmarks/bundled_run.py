"""Make the trained run that comes with film-zoo: `bigbuckbunny-vae`, on the clip of that name.

`make bundled` runs this. It trains in a workspace of its own, a minute of one core, and writes what
`zoo push` publishes of a run into `zoo/training/bundled/`. Weights are kept in 16 bits, so that the
run takes less than a megabyte; the scale of its latents is measured with those.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from zoo.evaluation.latents import save_scale
from zoo.reconstruct.loading import load
from zoo.training.run_folder import RunFolder
from zoo.training.runs import BUNDLED

NAME, MODEL, FILM = "bigbuckbunny-vae", "vae", "bigbuckbunny"
TRAINING = (
    *("train", MODEL, "--film", FILM, "--preset", "quick", "--latent", "12"),
    *("--set", "width=8", "--threads", "1", "--device", "cpu"),
)


def main() -> None:
    """Train, round, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder to train in")
    work = parser.parse_args().work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "zoo", *TRAINING], cwd=work, check=True)
    (path,) = (work / "runs" / FILM / MODEL).iterdir()
    run = RunFolder(path)
    rounded = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(run.weights).items()
    }
    save_file(rounded, run.weights)
    made = RunFolder(BUNDLED / NAME)
    made.path.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    save_scale(made.scale, load(MODEL, FILM, workspace=work, device="cpu").quantiser)
    for file, target in ((run.weights, made.weights), (run.file, made.file)):
        shutil.copyfile(file, target)
    size = sum(file.stat().st_size for file in made.path.iterdir())
    sys.stdout.write(f"wrote {made.path.relative_to(Path.cwd())}{os.sep}: {size:,} bytes\n")


if __name__ == "__main__":
    main()
