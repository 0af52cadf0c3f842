"""The part of the report that is of a run on a GPU."""

from __future__ import annotations

from pathlib import Path

from tests.report.gpu_summary import put
from tests.report.synthetic_results import comparison, put_pictures
from zoo.base.gpu_records import SUMMARY
from zoo.report.gpu_section import gpu_sections
from zoo.report.write import write_report


def test_each_device_has_a_section_in_the_report(tmp_path: Path) -> None:
    results = comparison()
    put_pictures(results, tmp_path)
    assert "On a GPU" not in write_report(results, tmp_path).read_text()
    put(tmp_path, "b")
    put(tmp_path / "elsewhere", "c")
    spoilt = put(tmp_path, "a") / SUMMARY
    spoilt.write_text("{}")
    report = write_report(results, tmp_path).read_text()
    said = report[report.index("## On a GPU") : report.index("## How the numbers are measured")]
    assert [line for line in said.splitlines() if line.startswith("### ")] == [
        "### a",
        "### NVIDIA H100 \\| 80GB",
    ]
    assert f"could not be read: {SUMMARY} is not a GpuSummary" in said
    assert str(tmp_path) not in said
    assert (
        "| ae | 128 | yes | bf16-mixed | 12,300<br>± 200 | 15% | 9.87 GB | 31.2 s | aten::item |"
        in said
    )
    assert "vae | batch 512: failed, out of memory." in said.replace("\\", "")
    assert "20 not reached: coded_pca, batch 0; coded_pca, batch 1; " in said
    assert "; coded_pca, batch 11; and 8 more." in said
    assert said.count("not reached") == 1 and "measurements of throughput" not in said
    assert "| x264 | clip.mp4 | 256x144 | 171 | – | – | – |" in said


def test_a_picture_is_shown_if_it_is_in_the_folder_of_the_device(tmp_path: Path) -> None:
    put(tmp_path)
    (section,) = gpu_sections(tmp_path)
    said = "\n".join(section.blocks)
    assert "](gpu/h100/films/vaegan.webp)" in said and (tmp_path / "secret.webp").exists()
    assert "secret" not in said
