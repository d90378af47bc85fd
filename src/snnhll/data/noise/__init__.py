"""Disturbances of images in [0, 1], before normalisation (section 3, noise study)."""
