"""The proof: planar views against resampling, TorchGeo's own tasks and classic baselines."""
