"""How the terms of a layer's loss are weighed against each other (`loss.weighting`), one file a weighting."""
