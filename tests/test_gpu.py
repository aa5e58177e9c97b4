"""On a CUDA device: the compiled kernels against the oracle, the graph, memory checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels_cuda import agree, by_oracle, single
from kernels_rows import scale, wild

from headway.errors import HeadwayError, Missing
from headway.kernels import cuda, oracle, spec
from headway.kernels.cuda import selfcheck
from headway.kernels.cuda.layout import pack
from headway.kernels.cuda.stream import Batch, FeatureStream
from headway.kernels.telemetry import FIELDS

MISSING = cuda.missing()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(MISSING), reason=MISSING or "here")]


@pytest.fixture(scope="module")
def device() -> Any:
    try:
        return cuda.device()
    except Missing as e:
        pytest.skip(str(e))
    except HeadwayError as e:
        pytest.fail(str(e))


def fresh_seed() -> int:
    return int(np.random.SeedSequence().entropy) % 2**31  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("joints", "rate"), [(6, 500.0), (5, 125.0), (7, 1000.0), (14, 500.0), (8, 2000.0)]
)
def test_batch_on_fresh_random_windows_with_poisoned_outputs(
    device: Any, joints: int, rate: float
) -> None:
    seed, length = fresh_seed(), spec.windows(rate).long
    windows = single(np.stack([wild(length, (seed + s) % 2**31, joints) for s in range(6)]))
    r = np.random.default_rng(seed)
    for name in FIELDS:  # two windows with gaps
        hit = r.random(windows[name][:2].shape) < 0.02
        windows[name][:2][hit] = r.choice([np.nan, np.inf, 1e7], int(hit.sum()))
    made = Batch(device, scale(joints), joints, rate, length)
    packed = pack(windows, joints)
    features = np.full((6, spec.N_FEATURES), np.nan, np.float32)
    masks = np.full((6, spec.N_MASKS), np.nan, np.float32)
    at = [device.alloc(a.nbytes) for a in (packed, features, masks)]
    for pointer, a in zip(at, (packed, features, masks), strict=True):
        device.upload(pointer, a)
    made.run(at[0], 6, at[1], at[2])
    device.download(features, at[1])
    device.download(masks, at[2])
    device.synchronize()
    for pointer in at:
        device.free(pointer)
    made.close()
    try:
        agree(by_oracle(windows, rate), (features, masks))
    except AssertionError as e:
        raise AssertionError(f"seed {seed}: {e}") from None


@pytest.mark.parametrize("graph", [True, False])
def test_a_stream_follows_the_oracle(device: Any, graph: bool) -> None:
    seed = fresh_seed()
    rows = wild(600, seed)
    rows["dq"][100:130], rows["wrench"][200:210], rows["twist"][300:] = np.nan, np.inf, np.nan
    want = oracle.FeatureStream(scale(), 6, 500.0)
    have = FeatureStream(device, scale(), 6, 500.0, graph=graph)
    for i, row in enumerate(rows):
        want.push(row)
        have.push(row)
        if i % 7 == 0 or i > 590:
            a, b = want.features(), have.features()
            agree((a[0][None], a[1][None]), (b[0][None], b[1][None]))
    assert have.recorded == (graph and selfcheck._has_graphs(device))
    have.reset()
    assert not have.features()[0].any()
    have.close()


def test_the_host_build_computes_the_same(device: Any) -> None:
    """Bit for bit but for exp, log and the like, which are the libraries' own."""
    host = pytest.importorskip("headway.kernels._cuda_host", reason="host build not here")
    assert spec.spec_hash() == host.SPEC_HASH
    from headway.kernels.cuda.host import HostDriver
    from headway.kernels.cuda.stream import features_batch

    windows = single(np.stack([wild(256, 5), wild(256, 6)]))
    ours = features_batch(device, windows, scale(), 500.0)
    theirs = features_batch(HostDriver(), windows, scale(), 500.0)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer(tool: str, tmp_path: Path) -> None:
    sanitizer = shutil.which("compute-sanitizer") or shutil.which(
        "/usr/local/cuda/bin/compute-sanitizer"
    )
    if sanitizer is None:
        pytest.skip("no compute-sanitizer: neither memory nor races are checked on the device")
    code = (
        "import numpy as np\n"
        "from kernels_rows import scale, wild\n"
        "from headway.kernels import cuda\n"
        "w = np.stack([wild(256, 1), wild(256, 2)])\n"
        "w['dq'][1, 40:60] = np.nan\n"
        "cuda.features_batch(w, scale(), 500.0)\n"
        "cuda.batch(wild(40, 3), scale(), 500.0, 5)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(f"import sys\nsys.path[:0] = {sys.path!r}\n{code}")
    # What a binding looks for in an older driver is not there, which is no error of ours.
    quiet = ("--report-api-errors", "no") if tool == "memcheck" else ()
    done = subprocess.run(
        [sanitizer, "--tool", tool, *quiet, "--error-exitcode", "9", sys.executable, str(script)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
