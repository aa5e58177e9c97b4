"""The policy that all arms start from: eyes and text encoder, which stay as they are, and a head
that is taught anew each round. It is read from the policy's bundle, and policies with other heads
are that bundle with other weights, so all of them see the same."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headway import bundle
from headway.bundle import Bundle, Manifest, Provenance
from headway.edge.engines.engine import open_bundle
from headway.errors import SpecMismatch
from headway.export import graph
from headway.export.onnx import export, with_weights
from headway.learn.execution.critic import Critic
from headway.learn.execution.extraction import HeadLoss
from headway.learn.policy.head import HEAD, LATENTS, FlowHead, Latents, flow_loss

TOLERANCE = 1e-3  # of what the model answers with another head, and the head by itself
CRITIC = "critic.onnx"
Exported = tuple[bytes, tuple[bundle.Tensor, ...], tuple[bundle.Tensor, ...]]


class Base(Protocol):
    """What a unit wants of the policy whose head it teaches."""

    eyes: str  # names what made the codes
    folder: Path  # its bundle, whose head is the one it came with
    loss: HeadLoss

    def head(self, seed: int, width: int) -> nn.Module:
        """A head that knows nothing yet, whose hidden layers have the `width`."""

    def to_latent(self, actions: NDArray[np.float32]) -> NDArray[np.float32]:
        """The chunk `actions` (h, 7) [m, rad, 0..1] in the head's units (a,)."""

    def save(self, head: nn.Module, out: Path, note: str) -> None:
        """Write the policy with `head` as a bundle into the folder `out`, which is there whole or
        not at all; `note` goes into its provenance. Raises BundleError."""

    def save_critic(self, critic: Critic, out: Path, note: str) -> None:
        """Likewise a critic of this policy's chunks."""


class FlowBase:
    """The policy in the bundle `folder`, which draws its chunks from noise with a head of
    `learn.policy`. Raises BundleError, and SpecMismatch for a bundle of something else."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._bundle = folder, bundle.load(folder)
        manifest = self._bundle.manifest
        info = manifest.policy
        if info is None or info.noise is None or not info.noise.thought:
            raise SpecMismatch(
                f"wanted a policy that makes its chunks from noise, found {manifest.kind} "
                f"{manifest.name} at {folder}: train one by `python -m headway.learn.policy.train`"
            )
        self.eyes = manifest.eyes
        self._noise = info.noise
        widths = {t.name: t.shape[-1] for t in manifest.outputs}
        self._code, self._latent = widths[info.noise.code], widths[info.noise.latent]
        self.loss: HeadLoss = flow_loss
        self._latents = Latents(info.actions.chunk)
        self._latents.load_state_dict(self._part(LATENTS, self._latents))
        self._part(HEAD, self.head(0, self._width()))  # the model's head is one of these
        # A critic's graph with the sizes of its weights, once one was exported.
        self._graph: tuple[tuple[Any, ...], Exported] | None = None

    def _part(self, prefix: str, module: nn.Module) -> dict[str, Any]:
        """The weights of `module` in the model, where their names begin with `prefix`. Raises
        SpecMismatch where they are not what the module has."""
        found = {
            name: torch.from_numpy(value.copy())
            for name, value in graph.by_name(graph.read(self._bundle.onnx)).items()
            if name.startswith(prefix)
        }
        for name, value in module.state_dict().items():
            have = found.get(prefix + name)
            if have is None or have.shape != value.shape:
                shape = None if have is None else tuple(have.shape)
                raise SpecMismatch(
                    f"{self.folder}: wanted a model with the weights {prefix}{name} "
                    f"{tuple(value.shape)}, found {shape}: export the policy again with "
                    "`headway.export.flow`; heads of several workflows (`learn.policy.join`) "
                    "cannot be taught together, take the policies that were joined"
                )
        return {name: found[prefix + name] for name in module.state_dict()}

    def head(self, seed: int, width: int) -> nn.Module:
        """See `Base`."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made: nn.Module = FlowHead(self._code, self._latent, width=width)
            return made

    def _width(self) -> int:
        """That of the head in the model; 1 where it has no such head, which `_part` then says."""
        bias = graph.by_name(graph.read(self._bundle.onnx)).get(f"{HEAD}given.bias")
        return 1 if bias is None else len(bias)

    @torch.no_grad()
    def to_latent(self, actions: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Base`."""
        found: NDArray[np.float32] = self._latents.to_latent(torch.from_numpy(actions)[None])[
            0
        ].numpy()
        return found

    def save(self, head: nn.Module, out: Path, note: str) -> None:
        """See `Base`. Raises BundleError also where the model answers other than the head."""
        old = self._bundle.manifest
        model = graph.replaced(
            self._bundle.onnx.read_bytes(),
            {HEAD + n: v.detach().numpy() for n, v in head.state_dict().items()},
        )
        files: dict[str, bytes | Path] = {
            name: model if name == old.onnx else self._bundle.path / name for name in old.files
        }
        noise = msgspec.structs.replace(self._noise, eyes=self.eyes)
        assert old.policy is not None
        manifest = msgspec.structs.replace(
            old, name=out.name, files={}, policy=msgspec.structs.replace(old.policy, noise=noise),
            provenance=msgspec.structs.replace(
                old.provenance, data=f"{old.provenance.data}; head: {note}",
                date=datetime.date.today().isoformat(), metrics={},
            ),
        )  # fmt: skip
        self._check(bundle.save(out, manifest, files), head.eval())

    @torch.no_grad()
    def _check(self, made: Bundle, head: nn.Module) -> None:
        """Raises SpecMismatch where the chunk of the model is not what `head` draws."""
        engine = open_bundle(made)
        rng = np.random.default_rng(0)
        for t in made.manifest.inputs:
            engine.bind(t.name)[...] = np.zeros(t.shape, t.dtype)
        noise = rng.standard_normal((1, self._latent)).astype(np.float32)
        engine.bind(self._noise.input)[...] = noise
        engine.run()
        code = torch.from_numpy(engine.bind(self._noise.code).copy())
        found = engine.bind(self._noise.latent).copy()
        engine.close()
        drawn: Any = head
        wanted = self._latents.snapped(drawn.sample(code, torch.from_numpy(noise))).numpy()
        gap = float(np.abs(found - wanted).max())
        if not gap <= TOLERANCE:
            raise SpecMismatch(
                f"{made.path}: wanted the chunks that the head draws, found a difference of up to "
                f"{gap:.3g}: export the policy again with `headway.export.flow`"
            )

    def save_critic(self, critic: Critic, out: Path, note: str) -> None:
        """See `Base`."""
        rng = np.random.default_rng(0)

        def sample(rows: int, width: int) -> torch.Tensor:
            return torch.from_numpy(rng.normal(0, 1, (rows, width)).astype(np.float32))

        inputs = {"code": sample(1, self._code), "latent": sample(2, self._latent)}
        if self._graph is None or self._graph[0] != _sizes(critic):
            self._graph = _sizes(critic), export(critic, inputs, ["score"], several=("latent",))
            model, ins, outs = self._graph[1]
        else:  # much quicker than another export
            first, ins, outs = self._graph[1]
            model = with_weights(first, critic, inputs, ["score"])
        manifest = Manifest(
            kind="critic",
            name=out.name,
            onnx=CRITIC,
            inputs=ins,
            outputs=outs,
            provenance=Provenance(
                command="headway learn", seed=0, data=note, date=datetime.date.today().isoformat()
            ),
            critic=bundle.Critic(eyes=self.eyes, policy=self._bundle.manifest.name),
        )
        bundle.save(out, manifest, {CRITIC: model})


def _sizes(critic: Critic) -> tuple[Any, ...]:
    """What decides about the graph of a critic: the sizes of its weights, and its doubt."""
    return (critic.doubt, *(tuple(v.shape) for v in critic.state_dict().values()))


def open_base(folder: Path) -> FlowBase:
    """The policy in `folder`. Raises what `FlowBase` raises."""
    return FlowBase(folder)
