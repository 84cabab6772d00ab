"""Multinomial logistic regression as an objective: value, gradient, curvature, all by blocks.

    F(W, b) = C sum_i loss(y_i, f(x_i)) + 1/2 |W|^2,    f(x) = ((x - mean) / scale) W + b,

the softmax cross-entropy of scikit-learn's `LogisticRegression(C=C)`, whose intercept bears no
penalty. Taking out the mean changes nothing but the intercept. Rows are never standardised in
memory: mean and scale are applied to the parameters, so that features of half precision stay what
they are. Values and gradients are in fp64; products with the Hessian, which only direct the next
step, are in fp32. Parameters enter a product class by class, (K, D): torch's products on a CPU then
take down to a fifth of the time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 2**21  # values of a block of rows or logits


@dataclass(frozen=True)
class Model:
    """One solution, fp64 on the device: `weight` (D, K) of standardised features, `bias` (K,)."""

    weight: Tensor
    bias: Tensor

    def moved(self, by: "Model", step: float = 1.0) -> "Model":
        """The model `step` times `by` away."""
        return Model(self.weight + step * by.weight, self.bias + step * by.bias)

    def dot(self, other: "Model") -> float:
        """The inner product of two sets of parameters."""
        return float((self.weight * other.weight).sum() + (self.bias * other.bias).sum())


@dataclass(frozen=True)
class Point:
    """The objective at a model."""

    model: Model
    value: float
    gradient: Model
    probabilities: Tensor  # (N, K) fp32


@dataclass(frozen=True)
class Standard:
    """How rows (n, D) are standardised: (x - mean) / scale, both (D,) fp64 on the device."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def none(cls, dimensions: int, device: torch.device) -> "Standard":
        """Rows stay what they are."""
        mean = torch.zeros(dimensions, dtype=torch.float64, device=device)
        return cls(mean, torch.ones_like(mean))

    def raw(self, model: Model) -> Model:
        """The same function of rows that are not standardised."""
        weight = model.weight / self.scale[:, None]
        return Model(weight, model.bias - self.mean @ weight)


@dataclass(frozen=True)
class Problem:
    """Features and labels of one fit; each of its classes has a row."""

    features: Tensor  # (N, D) fp32 or fp64, on the device
    labels: Tensor  # (N,) int64
    classes: int
    standard: Standard

    @property
    def device(self) -> torch.device:
        """Where all of it lives."""
        return self.features.device

    def zero(self) -> Model:
        """Where a path begins."""
        shape = (self.features.shape[1], self.classes)
        weight = torch.zeros(shape, dtype=torch.float64, device=self.device)
        return Model(weight, weight.new_zeros(self.classes))

    def at(self, model: Model, cost: float) -> Point:
        """Value, gradient and probabilities, of sums in fp64."""
        raw = self.standard.raw(model)
        weights = raw.weight.T.contiguous()
        sums = torch.zeros_like(weights)
        total = torch.zeros_like(raw.bias)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        probabilities = torch.empty(
            (len(self.labels), self.classes), dtype=torch.float32, device=self.device
        )
        for rows in self._blocks():
            block, labels = self.features[rows].double(), self.labels[rows, None]
            logits = torch.addmm(raw.bias, block, weights.T)
            logits -= logits.gather(1, labels)  # of the true class: 0
            most = logits.amax(1, keepdim=True)
            odds = (logits - most).exp_()
            odds.scatter_(1, labels, 0.0)
            own, others = (-most).exp(), odds.sum(1, keepdim=True)
            # log(1 + x) keeps the digits of a small loss: where the true class is the most likely.
            loss += torch.where(most == 0, others.log1p(), most + (own + others).log()).sum()
            residual = odds.div_(own + others)  # p - y, without cancellation at the true class
            residual.scatter_(1, labels, -(others / (own + others)))
            sums.addmm_(residual.T, block)
            total += residual.sum(0)
            probabilities[rows] = residual.float()
            probabilities[rows] = probabilities[rows].scatter_(
                1, labels, (own / (own + others)).float()
            )
        weight = model.weight + cost * self._standardised(sums.T, total)
        value = cost * float(loss) + 0.5 * float(model.weight.square().sum())
        return Point(model, value, Model(weight, cost * total), probabilities)

    def curvature(self, point: Point, cost: float, direction: Model) -> Model:
        """The Hessian's product with a direction, of sums in fp32."""
        raw = self.standard.raw(direction)
        weights, bias = raw.weight.T.contiguous().float(), raw.bias.float()
        sums = torch.zeros_like(weights)
        total = torch.zeros_like(bias)
        for rows in self._blocks():
            block, chances = self.features[rows].float(), point.probabilities[rows]
            change = torch.addmm(bias, block, weights.T)
            change -= (change * chances).sum(1, keepdim=True)
            change *= chances
            sums.addmm_(change.T, block)
            total += change.sum(0)
        along = cost * self._standardised(sums.T.double(), total.double())
        return Model(direction.weight + along, cost * total.double())

    def gram(self) -> Tensor:
        """The sum of x x' over the standardised rows, (D, D) fp64 of sums in fp32."""
        dimensions = self.features.shape[1]
        found = torch.zeros((dimensions, dimensions), dtype=torch.float32, device=self.device)
        for rows in self._blocks():
            block = self._standard_rows(rows)
            found.addmm_(block.T, block)
        return found.double()

    def turned(self, basis: Tensor) -> Tensor:
        """The standardised rows in a basis (D, r), (N, r) fp32."""
        shape = (len(self.labels), basis.shape[1])
        found = torch.empty(shape, dtype=torch.float32, device=self.device)
        for rows in self._blocks():
            found[rows] = self._standard_rows(rows) @ basis.float()
        return found

    def _standard_rows(self, rows: slice) -> Tensor:
        mean, scale = self.standard.mean.float(), self.standard.scale.float()
        return (self.features[rows].float() - mean) / scale

    def _standardised(self, sums: Tensor, total: Tensor) -> Tensor:
        """Of the standardised rows, from the sums (D, K) of raw ones and those of (K,) ones."""
        mean, scale = self.standard.mean, self.standard.scale
        return (sums - torch.outer(mean, total)) / scale[:, None]

    def _blocks(self) -> Iterator[slice]:
        size = _rows(self.features.shape[1], self.classes)
        for start in range(0, len(self.labels), size):
            yield slice(start, start + size)


def _rows(dimensions: int, classes: int) -> int:
    return max(64, BLOCK // max(dimensions, classes))


def logits(raw: Model, features: Tensor) -> Iterator[Tensor]:
    """Logits (n, K) fp64 of block after block of rows (M, D); for `raw` see `Standard.raw`."""
    size = _rows(*raw.weight.shape)
    for start in range(0, len(features), size):
        block = features[start : start + size].to(raw.weight.device).double()
        yield torch.addmm(raw.bias, block, raw.weight)
