"""The fixed Sobel stem of DeepCluster's models."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SobelStem(nn.Module):
    """Grey, then horizontal and vertical gradient, as in DeepCluster's models.

    (N, 3, H, W) -> (N, 2, H, W), after the mean and standard deviation were taken out. The filters
    are constants: buffers that follow the device but are in no state dict.
    """

    grey: Tensor
    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grey", torch.full((1, 3, 1, 1), 1 / 3), persistent=False)
        self.register_buffer("kernels", sobel_kernels(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Left minus right and top minus bottom; zeros are padded around the grey image."""
        return functional.conv2d(functional.conv2d(images, self.grey), self.kernels, padding=1)


def sobel_kernels() -> Tensor:
    """(2, 1, 3, 3): left minus right, then top minus bottom (cross-correlation, as torch's)."""
    left_right = [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]
    top_bottom = [[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]]
    return torch.tensor([[left_right], [top_bottom]])
