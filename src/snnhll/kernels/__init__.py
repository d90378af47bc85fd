"""Kernels between the samples of a batch, the HSIC estimators built on them, and the features they are taken of."""
