"""A sweep as a YAML file: what it repeats, and what is wrong with one."""

from pathlib import Path

import pytest

from search_spaces.find import list_spaces
from tune.plan.new import Plan, plan_sweep
from tune.plan.sweep_file import spell_sweep
from tune.run import build_parser, main

ODD = ("--trials", "7", "--asha", "off", "--seeds", "2", "--no-baseline", "--calibrate", "0.5")
ODD = (*ODD, "--max-hours", "1.5", "--set", "lora_rank=24", "--set", "weight_decay=1e-4")


def plan(storage: Path, *flags: str) -> Plan:
    return plan_sweep(build_parser().parse_args([*flags, "--storage", str(storage)]))


@pytest.mark.parametrize("profile", ["tiny", "lab"])
@pytest.mark.parametrize("space", sorted(set(list_spaces()) - {"decoding"}))
def test_a_sweep_s_file_repeats_it(tmp_path: Path, space: str, profile: str) -> None:
    odd = ODD if space == "lora_modules" else ()
    first = plan(tmp_path, "--space", space, "--profile", profile, "--name", "first", *odd)
    file = tmp_path / "sweep.yaml"
    file.write_text(spell_sweep(first.config, first.space))
    again = plan(tmp_path, "--config", str(file), "--name", "first")
    assert again.space == first.space and again.configs == first.configs
    told = {**first.config.to_dict(), "space": again.config.space}
    assert again.config.to_dict() == told


def test_a_file_by_hand_with_flags_over_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "space: {learning_rate: {low: 1e-5, high: 1e-2, log: true}, lora_rank: [8, 16]}\n"
        "profile: tiny\nasha: off\nrungs: [200, 400]\ntrain-turns: 800\neta: 2\n"
        "set: {batch_turns: 8, base_model: toy, lora_modules: qv}\n"
    )
    flags = ("--config", str(file), "--eta", "4", "--set", "batch_turns=4")
    found = plan(tmp_path, *flags)
    config, base = found.config, found.configs[0]
    assert (config.asha, config.eta, config.rungs_turns) == ("off", 4, (200, 400))
    assert (base.batch_turns, base.lora_modules, base.base_model) == (4, "qv", "toy")
    assert set(found.space.searched) == {"learning_rate", "lora_rank"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trails: 3", "did you mean --trials?"),
        ("trials: many", "invalid int value: 'many'"),
        ("- trials", "must hold flags and their values"),
        ("trials: [", "cannot be read"),
        ("trials: 0", "--trials must be at least 1, not 0"),
        ("space: {searchd: {}, searched: {lora_rank: [1]}}", "did you mean searched?"),
        ("space: {lora_rnk: [1, 2]}", "did you mean lora_rank?"),
        ("space: {lora_rank: 8}", "over a list of choices or {low, high, log, step}, not 8"),
        ("space: {lora_rank: {low: 8, high: 2}}", "lora_rank cannot be searched over"),
        ("set: [lora_rank]", "set holds fields and their values"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, text: str, message: str
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(text if "space" in text else f"space: lora_modules\nprofile: tiny\n{text}")
    if text.startswith(("-", "trials: [")):
        file.write_text(text)
    try:
        code = main(["--config", str(file), "--storage", str(tmp_path / "runs")])
    except SystemExit as ended:
        code = int(str(ended.code))
    error = capsys.readouterr().err
    assert code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["space: {file}", "trust_remote_code: true"])
def test_a_file_of_flags_gives_no_trust(
    tmp_path: Path, capsys: pytest.CaptureFixture, text: str
) -> None:
    mark, file = tmp_path / "mark", tmp_path / "theirs.py"
    file.write_text(f"open({str(mark)!r}, 'w').close()")
    space = "" if "space" in text else "space: lora_modules\n"
    (tmp_path / "sweep.yaml").write_text(f"{space}profile: tiny\n{text.format(file=file)}\n")
    flags = ["--config", str(tmp_path / "sweep.yaml"), "--storage", str(tmp_path), "--dry-run"]
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert (
        error.count("\n") == 1
        and "Python runs only where the command line itself names it" in error
    )
    assert not mark.exists()
