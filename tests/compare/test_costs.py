"""Costs on cases with known answers: models that sleep, allocate and fail, and a faked meter."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.compare.sleepy_models import CLOCK, NAP, VALUES, Sleepy, subject
from tests.report.synthetic_results import ENVIRONMENT
from zoo.api.autoencoder import Autoencoder, Batch, Options
from zoo.api.metric import Unavailable
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.records import Cost, Memory, Record, Throughput
from zoo.base.workspace import Workspace
from zoo.compare import costs
from zoo.compare.costs import (
    cost_subjects,
    load_or_measure_costs,
    measure_all,
    with_costs,
)
from zoo.evaluation import cost, profiling
from zoo.evaluation.cost import CostSubject, Profiler, measure_cost
from zoo.plugins.registry import registry
from zoo.training.run_folder import RunFile, RunFolder, TrainingConfig
from zoo.training.throughput_and_memory import keep_freed_memory

pytestmark = pytest.mark.usefixtures("sleepy_models")

CPU = torch.device("cpu")


# Time


def test_throughput_has_the_median_and_the_quartiles_of_its_blocks() -> None:
    seconds = itertools.cycle([0.01, 0.04])
    found = profiling.measure_throughput(lambda: CLOCK.sleep(next(seconds)), 4, lambda: None)
    # After three calls to warm up: 100, 400, 100, 400 and 100 frames per second.
    figures = (found.lower_quartile, found.median, found.upper_quartile)
    assert figures == pytest.approx((100, 100, 400)) and found.repeats == 5


def test_the_device_is_waited_for_around_a_block_and_not_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profiling, "LONG_SECONDS", 60.0)
    events: list[str] = []
    found = profiling.measure_throughput(
        lambda: events.append("call"), 1, lambda: events.append("wait"), fewest_calls=10
    )
    warm_up = ["call", "wait"] * profiling.WARM_UP
    block = ["wait", *["call"] * 10, "wait"]
    assert events == warm_up + block * profiling.MOST_REPEATS
    assert found.repeats == profiling.MOST_REPEATS


def test_a_slow_call_is_repeated_five_times_and_warmed_up_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profiling, "WARM_UP_SECONDS", 0.0)
    calls: list[int] = []
    assert profiling.measure_throughput(lambda: calls.append(1), 1, lambda: None).repeats == 5
    assert len(calls) == 2 + 5


def test_a_fast_call_is_repeated_until_a_block_can_be_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profiling, "BLOCK_SECONDS", 0.02)
    calls: list[int] = []
    found = profiling.measure_throughput(
        lambda: calls.append(1) or CLOCK.sleep(0.001), 1, lambda: None
    )
    assert len(calls) == pytest.approx(5 * 20 + 3, abs=5)
    assert found.repeats == 5


# Memory


def megabytes_of(work: Callable[[], object]) -> float:
    most = profiling.peak_memory(CPU, work)
    return profiling.memory_above(most, profiling.memory_in_use(CPU)).reserved / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory anew")
def test_memory_is_what_the_work_held_and_nothing_before_it() -> None:
    keep_freed_memory()  # as training does
    earlier = torch.ones(100_000_000)
    del earlier
    # Twice what it asks for at most: the heap may have no hole left for it the second time.
    assert 75 < megabytes_of(lambda: torch.ones(20_000_000)) < 180


def test_memory_that_the_system_does_not_count_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(profiling, "_CLEAR", tmp_path / "none" / "clear_refs")
    found = measure_cost(subject(), Profiler(CPU))
    assert found.train_memory is None and found.train is not None
    assert "clear_refs: No such file" in found.unavailable["train_memory"]
    assert "clear_refs: No such file" in found.unavailable["round_trip_memory"]


def test_memory_above_what_is_held_anyway_is_never_negative() -> None:
    most, without = Memory(allocated=900, reserved=4096), Memory(allocated=1000, reserved=1024)
    assert profiling.memory_above(most, without) == Memory(allocated=0, reserved=3072)
    on_a_cpu = Memory(allocated=None, reserved=1024)
    assert profiling.memory_above(on_a_cpu, on_a_cpu) == Memory(allocated=None, reserved=0)


# Energy


class Meter:
    """Counts three joules a call."""

    def __init__(self) -> None:
        self.used = 1000.0

    def call(self) -> None:
        self.used += 3.0

    def joules(self) -> float:
        return self.used


def test_energy_is_what_the_meter_moved_by_frame() -> None:
    meter = Meter()
    assert profiling.joules_per_frame(meter, meter.call, 4, 100.0, lambda: None) == 0.75


def test_a_meter_that_stands_still_is_no_energy_of_zero() -> None:
    with pytest.raises(Unavailable, match="stood still"):
        profiling.joules_per_frame(Meter(), lambda: None, 4, 100.0, lambda: None)


def test_nvml_is_asked_for_this_very_gpu_in_joules() -> None:
    asked: list[str] = []
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid) or uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 2500 if handle == asked[0] else 0,
    )
    assert profiling.NvmlMeter(nvml, "12ab-34").joules() == 2.5
    assert asked == ["GPU-12ab-34"]


def test_energy_stands_in_the_cost_where_there_is_a_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    class FiftyWatts(Meter):
        def joules(self) -> float:
            return 50 * CLOCK.now

    monkeypatch.setattr(cost, "energy_meter", lambda device: FiftyWatts())
    found = measure_cost(subject(), Profiler(CPU))
    assert found.round_trip_joules is not None and not found.unavailable
    assert found.round_trip_joules == pytest.approx(50 * 3 * NAP / 8)


# A model


def test_a_model_of_known_cost() -> None:
    found = measure_cost(subject(), Profiler(CPU))
    naps = {"encode": 1, "decode": 2, "round_trip": 3, "train": 3}
    for timing_name, count in naps.items():
        for name, frames in ((timing_name, 8), (timing_name + "_one", 1)):
            if name == "train_one":
                continue
            timed: Throughput = getattr(found, name)
            assert timed.median == pytest.approx(frames / (count * NAP)), name
    assert found.batch == 8
    no_meter = "a CPU has no meter that is read here"
    assert found.unavailable == {"round_trip_joules": no_meter, "train_joules": no_meter}
    assert found.encode_multiply_adds == found.decode_multiply_adds == 4 * VALUES
    # Forward 2 products; backward 2 for the weights and 1 for the latents.
    assert found.train_share_of_peak is not None and found.round_trip_share_of_peak is not None
    ratio = found.train_share_of_peak / found.round_trip_share_of_peak
    speeds = (found.train.median or 0) / (found.round_trip.median or 1)  # type: ignore[union-attr]
    assert ratio == pytest.approx(2.5 * speeds, rel=1e-6)


def test_a_reference_has_no_figures_of_training_and_needs_no_film() -> None:
    origin = registry().origins["pca"]
    found = measure_cost(subject("pca", origin=origin), Profiler(CPU))
    assert found.encode is not None and found.round_trip_one is not None
    assert found.train is None and found.train_memory is None
    assert not [name for name in found.unavailable if name.startswith("train")]


def test_what_fails_in_training_costs_the_figures_of_training_alone() -> None:
    found = measure_cost(subject("forgetful"), Profiler(CPU))
    assert found.round_trip is not None and found.round_trip_memory is not None
    why = "ArithmeticError: not | enough of it"
    for figure in ("train", "train_memory", "train_joules", "train_share_of_peak"):
        assert getattr(found, figure) is None
        assert found.unavailable[figure] == why


def test_memory_that_runs_out_is_the_reason_and_no_smaller_batch_is_taken() -> None:
    found = measure_cost(subject("large"), Profiler(CPU))
    assert found.batch == 8
    assert found.encode is None and found.train is None
    assert found.unavailable["encode"] == "memory ran out with a batch of 8"
    assert found.unavailable["round_trip_share_of_peak"] == "memory ran out with a batch of 8"
    assert found.unavailable["train"] == (
        "large: memory ran out with a batch of 8; --batch 2 would fit"
    )
    assert found.encode_one is not None and found.round_trip_one is not None


def test_training_is_timed_as_it_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def compiled(model: Autoencoder, mode: str) -> None:
        asked.append(mode)

    monkeypatch.setattr("zoo.training.step.compile_modules", compiled)
    measure_cost(subject(compile="default"), Profiler(CPU))
    assert asked == ["default"]

    model = Sleepy(FrameSize(32, 32), Options(latent=4))
    batch = Batch.numbered(subject().samples(CPU))
    before = model.up.weight.detach().clone()
    types: list[torch.dtype] = []
    model.up.register_forward_hook(lambda module, given, out: types.append(out.dtype))
    cost.training_step(model, batch, "bf16-mixed", "none")(batch, 0.5)
    assert types == [torch.bfloat16]
    assert not torch.equal(before, model.up.weight)


# A pass


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were measured, for what they cost is given."""
    done: list[str] = []

    def measure(of: CostSubject, machine: Profiler) -> Cost:
        done.append(of.model)
        if of.model == "quits":
            return Cost(batch=of.batch, unavailable={"encode": "SystemExit: no"})
        speed = Throughput(
            median=10.0 * len(done), lower_quartile=float("nan"), upper_quartile=11, repeats=5
        )
        return Cost(batch=of.batch, encode=speed)

    monkeypatch.setattr(costs, "measure_cost", measure)
    return done


def test_a_pass_measures_each_subject_once_in_order(measured: list[str]) -> None:
    reports: list[tuple[str, int, int]] = []
    found = measure_all(
        [subject(), subject("large"), subject(), subject(batch=4)],
        CPU,
        on_subject=lambda of, number, count: reports.append((of.model, number, count)),
    )
    assert measured == ["sleepy", "large", "sleepy"]
    assert reports == [("sleepy", 1, 3), ("large", 2, 3), ("sleepy", 3, 3)]
    assert [row.subject.batch for row in found.rows] == [8, 8, 4]
    assert [row.parameters for row in found.rows] == [2 * 4 * VALUES] * 3
    assert found.environment.threads == torch.get_num_threads()


def test_threads_stay_pinned_whatever_a_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def measure(of: CostSubject, machine: Profiler) -> Cost:
        seen.append(torch.get_num_threads())
        torch.set_num_threads(seen[0] + 1)
        return Cost(batch=8)

    monkeypatch.setattr(costs, "measure_cost", measure)
    before = torch.get_num_threads()
    try:
        found = measure_all([subject(), subject("large")], CPU)
        assert seen == [before, before]
        assert torch.get_num_threads() == found.environment.threads == before
    finally:
        torch.set_num_threads(before)


def test_trainings_that_differ_by_film_seed_and_budget_are_one_subject() -> None:
    one, other = (
        TrainingConfig(
            **subject().model_dump(), film=film, film_fingerprint=film, budget=budget, seed=seed
        )
        for film, budget, seed in (("bikes", "8steps", 0), ("carphone", "9steps", 1))
    )
    assert CostSubject.of(one).key == CostSubject.of(other).key == subject().key
    assert subject(options={"latent": 5}).key != subject().key


def test_a_saved_pass_is_reused_and_measured_as_a_whole_for_more_models(
    tmp_path: Path, measured: list[str]
) -> None:
    workspace = Workspace(tmp_path)
    two = [subject(), subject("large")]
    first = load_or_measure_costs(workspace, two, CPU)
    assert load_or_measure_costs(workspace, reversed(two), CPU) == first
    assert measured == ["sleepy", "large"]
    (path,) = (tmp_path / ".zoo" / "costs").iterdir()
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert first[two[0].key].encode.lower_quartile is None  # type: ignore[union-attr]

    load_or_measure_costs(workspace, two, CPU, overwrite=True)
    assert measured[2:] == ["sleepy", "large"]
    path.write_text("{}")
    load_or_measure_costs(workspace, two, CPU)
    assert measured[4:] == ["sleepy", "large"]
    load_or_measure_costs(workspace, [*two, subject("forgetful")], CPU)
    assert measured[6:] == ["sleepy", "large", "forgetful"]


def test_some_of_the_models_of_a_pass_are_not_measured_again(
    tmp_path: Path, measured: list[str]
) -> None:
    workspace = Workspace(tmp_path)
    three = [subject(), subject("large"), subject("forgetful")]
    every = load_or_measure_costs(workspace, three, CPU)
    for some in (three[:1], three[1:], [three[2], three[0]]):
        assert load_or_measure_costs(workspace, some, CPU) == {
            one.key: every[one.key] for one in some
        }
    assert measured == ["sleepy", "large", "forgetful"]
    # At another size it is another subject.
    load_or_measure_costs(workspace, [subject(size="64x64")], CPU)
    assert measured[3:] == ["sleepy"]


def test_another_number_of_threads_is_another_pass(tmp_path: Path, measured: list[str]) -> None:
    workspace, before = Workspace(tmp_path), torch.get_num_threads()
    try:
        load_or_measure_costs(workspace, [subject()], CPU)
        torch.set_num_threads(before + 1)
        load_or_measure_costs(workspace, [subject()], CPU)
    finally:
        torch.set_num_threads(before)
    assert measured == ["sleepy", "sleepy"]


def test_a_pass_with_a_failed_model_is_not_kept(tmp_path: Path, measured: list[str]) -> None:
    for _ in range(2):
        found = load_or_measure_costs(Workspace(tmp_path), [subject("quits"), subject()], CPU)
    assert measured == ["quits", "sleepy"] * 2
    assert found[subject("quits").key].unavailable == {"encode": "SystemExit: no"}


def test_a_pass_that_is_interrupted_ends_at_once_and_is_not_kept(
    tmp_path: Path, measured: list[str]
) -> None:
    def watch(of: CostSubject, number: int, count: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            load_or_measure_costs(
                Workspace(tmp_path), [subject(), subject("large")], CPU, on_subject=watch
            )
    assert measured == ["sleepy", "sleepy"]
    with pytest.raises(BadInput):
        measure_all([], CPU)


def record(workspace: Workspace, model: str, **changes: Any) -> Record:
    """The record of a run that lies in the workspace."""
    seed = changes.get("seed", 0)
    film = changes.get("trained_on", "bikes")
    config = TrainingConfig(
        **subject(model).model_dump(), film=film, film_fingerprint="", budget="8steps", seed=seed
    )
    folder = RunFolder.of(workspace, config)
    folder.write(RunFile(state="finished", config=config, environment=ENVIRONMENT))
    settings = {
        "model": model,
        "summary": "",
        "role": "model",
        "origin": "a test 0",
        "trained_on": film,
        "evaluated_on": film,
        "evaluation_fingerprint": "",
        "seed": 0,
        "options": {},
        "status": "ok",
        "run": folder.path.relative_to(workspace.root).as_posix(),
        "environment": ENVIRONMENT,
        **changes,
    }
    return Record.model_validate(settings)


def test_every_good_record_of_its_own_film_gets_its_cost_and_no_other(
    tmp_path: Path, measured: list[str]
) -> None:
    workspace = Workspace(tmp_path)
    coded = Cost(batch=None)
    records = [
        record(workspace, "sleepy"),
        record(workspace, "sleepy", seed=1),
        record(workspace, "large", trained_on="carphone"),
        record(workspace, "sleepy", evaluated_on="carphone"),
        record(workspace, "sleepy", kind="codec", cost=coded),
        record(workspace, "forgetful", status="failed", reason="it did"),
    ]
    subjects = cost_subjects(workspace, records)
    found = with_costs(records, subjects, load_or_measure_costs(workspace, subjects.values(), CPU))
    assert measured == ["sleepy", "large"]
    assert [row.cost and row.cost.encode and row.cost.encode.median for row in found] == [
        *(10.0, 10.0, 20.0),
        *(None, None, None),
    ]
    assert found[3].cost is None and found[4].cost == coded and found[5].cost is None
    assert cost_subjects(workspace, []) == load_or_measure_costs(workspace, [], CPU) == {}
