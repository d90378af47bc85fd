"""What some rules ask of a network, told to the user in one line where it is not so."""

from __future__ import annotations

from snnhll.errors import UserError
from snnhll.networks.block import Block
from snnhll.networks.network import Network


def integrate_and_fire(block: Block, rule: str) -> float:
    """Return v_th. Raises UserError for a neuron whose rate is not its input current over v_th, within [0, 1]."""
    settings = block.neuron.compiled
    if settings is None or settings.decay != 1 or settings.reset != "soft":
        raise UserError(
            f"neuron: {rule} needs integrate-and-fire with soft reset, whose rate is its input; use neuron=if."
        )
    return settings.v_th


def plain_blocks(network: Network) -> None:
    """Raise UserError for a network with residual blocks."""
    if any(block.layer.shortcut != "none" for block in network.blocks):
        raise UserError(
            "architecture.spec: this rule has no equations for residual blocks; use rule=bptt, snib, dfa, frozen, or "
            "rule=local with trainer.update=accumulate or final."
        )


def differentiable(network: Network) -> None:
    """Raise UserError for neurons without a surrogate derivative."""
    if not all(block.neuron.differentiable for block in network.blocks):
        raise UserError(
            "neuron: these neurons have no surrogate derivative, which this rule follows; use neuron=lif, or rule=stdp."
        )


def fully_connected(network: Network, rule: str) -> None:
    """Raise UserError for a network with convolutions."""
    if any(block.layer.kind == "conv" for block in network.blocks):
        raise UserError(f"architecture.spec: {rule} is for fully connected nets here; use one such as 784-400-n.")


def plain_weights(network: Network, rule: str, why: str) -> None:
    """Raise UserError for a network with a normalisation; why: what it would do to the rule."""
    if any(part is not None for block in network.blocks for part in (block.norm, block.bntt, block.synapse.gain)):
        raise UserError(f"architecture.norm: {rule} {why}; use architecture.norm=none.")


def no_batch_statistics(network: Network, rule: str, why: str) -> None:
    """Raise UserError for a network that normalises by statistics of the batch; why: what they would do to the rule."""
    if any(block.norm is not None or block.bntt is not None for block in network.blocks):
        raise UserError(f"architecture.norm: {rule} {why}; use none or weight.")


def no_standardised_weights(network: Network, rule: str) -> None:
    """Raise UserError where the weights that a rule writes are not those that act."""
    if any(block.synapse.gain is not None for block in network.blocks):
        raise UserError(f"architecture.norm: 'weight' rescales what {rule} writes; use batch or none.")


def no_dropout(network: Network, rule: str) -> None:
    """Raise UserError where dropout is asked of a rule whose equations have no place for it."""
    if dropped := max(block.dropout for block in network.blocks):
        raise UserError(f"architecture.dropout: {dropped:g}, but {rule} drops nothing; use architecture.dropout=0.")


def alike_at_every_step(network: Network, rule: str) -> None:
    """Raise UserError where a layer is another one at every time step."""
    if any(block.bntt is not None for block in network.blocks):
        raise UserError(
            f"architecture.norm: {rule} needs layers that are the same at every time step, which 'bntt' makes differ; "
            f"use batch, weight or none."
        )
