"""What a run tells the processes it starts."""

import pytest
import torch

from trainable.model.base import BaseSpec, load_base
from trainable.system.environment import DETERMINISTIC, TRUST_REMOTE_CODE, set_environment


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (DETERMINISTIC, TRUST_REMOTE_CODE, "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.setenv(name, "")  # restored after the test, whatever it sets
        monkeypatch.delenv(name)


def test_remote_code_is_trusted_when_told_so_only() -> None:
    assert not BaseSpec().trust_remote_code
    set_environment(deterministic=False, trust_remote_code=True)
    assert BaseSpec().trust_remote_code
    set_environment(deterministic=False, trust_remote_code=False)
    assert not BaseSpec().trust_remote_code


def test_a_deterministic_run_takes_deterministic_kernels() -> None:
    spec = BaseSpec(quantisation="fp32", device="cpu")
    try:
        load_base(spec)
        assert not torch.are_deterministic_algorithms_enabled()
        set_environment(deterministic=True, trust_remote_code=False)
        load_base(spec)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
