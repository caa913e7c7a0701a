import os
import pathlib
from types import TracebackType
from typing import Any, Callable, Dict, List, Literal, Mapping, Optional, Sequence, Tuple, Type, Union, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .results import (
    Classification,
    DensityCoverage,
    InceptionScore,
    Kid,
    KidSubsets,
    LogLikelihood,
    MultilabelF1,
    PrecisionRecall,
    Progress,
    Ranking,
    Trajectory,
)

# What has `__array__`, or `__dlpack__` on the CPU, is one, too.
Array = Union[ArrayLike, Any]
Path = Union[str, "os.PathLike[str]"]
# A path, the name of a set, an array, or images with their labels.
Data = Union[Path, Array, Tuple[Array, Array]]
Settings = Mapping[str, Any]
OnProgress = Callable[[Progress], object]

__version__: str

class Model:
    @property
    def shape(self) -> Tuple[int, ...]: ...
    @property
    def classes(self) -> int: ...
    @property
    def class_names(self) -> List[str]: ...
    @property
    def parameters(self) -> int: ...
    @property
    def sigma_data(self) -> float: ...
    @property
    def sigma_range(self) -> Tuple[float, float]: ...
    @property
    def device(self) -> str: ...
    @property
    def config(self) -> Dict[str, Any]: ...
    @property
    def units(self) -> Optional[Dict[str, Any]]: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def __enter__(self) -> "Model": ...
    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None: ...
    def save(self, path: Path) -> None: ...
    def denoise(
        self, x: Array, sigma: Union[float, Array], labels: Union[None, int, str, Array] = None
    ) -> NDArray[np.floating[Any]]: ...
    @overload
    def sample(
        self,
        n: Union[None, int, Sequence[int]] = None,
        seed: int = 0,
        *,
        labels: Union[None, int, str, Array] = None,
        no_class: bool = False,
        guidance: Optional[float] = None,
        guidance_model: Optional["Model"] = None,
        guidance_interval: Optional[Tuple[float, float]] = None,
        latents: Optional[Array] = None,
        start: Optional[Array] = None,
        start_sigma: Optional[float] = None,
        start_noisy: bool = False,
        trajectory: Literal[False] = False,
        batch: int = 64,
        compute: Literal["f32", "bf16"] = "f32",
        solver: str = "heun",
        steps: Optional[int] = None,
        sigma_min: Optional[float] = None,
        sigma_max: Optional[float] = None,
        rho: Optional[float] = None,
        grid: Union[str, Sequence[float]] = "karras",
        churn: Optional[float] = None,
        s_min: Optional[float] = None,
        s_max: Optional[float] = None,
        s_noise: Optional[float] = None,
        eta: Optional[float] = None,
        brownian: bool = False,
        no_brownian: bool = False,
        order: Optional[int] = None,
        r: Optional[float] = None,
        correction: Optional[Literal["midpoint", "heun"]] = None,
        unipc_b: Optional[Literal["bh1", "bh2"]] = None,
        schedule: Optional[Literal["vp", "ve", "linear"]] = None,
        scaling: Optional[Literal["vp", "none"]] = None,
        alpha: Optional[float] = None,
        sde: Optional[Literal["vp", "ve"]] = None,
        snr: Optional[float] = None,
        corrector_steps: Optional[int] = None,
        tolerance: Optional[float] = None,
    ) -> NDArray[np.float32]: ...
    @overload
    def sample(
        self,
        n: Union[None, int, Sequence[int]] = None,
        seed: int = 0,
        *,
        trajectory: Literal[True],
        **options: Any,
    ) -> Trajectory: ...
    def log_likelihood(
        self,
        x: Array,
        labels: Union[None, int, str, Array] = None,
        *,
        trace: Literal["hutchinson", "exact"] = "hutchinson",
        probes: int = 1,
        tolerance: Optional[float] = None,
        steps: Optional[int] = None,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        levels: Optional[int] = None,
        dequantize: bool = True,
        seed: int = 0,
        batch: int = 16,
        compute: Literal["f32", "bf16"] = "f32",
    ) -> LogLikelihood: ...
    def to_data(self, x: Array) -> NDArray[Any]: ...
    def from_data(self, x: Array) -> NDArray[np.float32]: ...

class Outcome:
    @property
    def end(self) -> Literal["finished", "out of time", "stopped"]: ...
    @property
    def steps(self) -> int: ...
    @property
    def out(self) -> pathlib.Path: ...
    @property
    def model(self) -> Optional[Model]: ...
    @property
    def figures(self) -> Any: ...

def command(args: Sequence[str]) -> int: ...
def solvers() -> List[str]: ...
def load(path: Path, device: str = "cpu") -> Model: ...
def train(
    data: Data,
    out: Path,
    *,
    settings: Optional[Settings] = None,
    preset: Optional[str] = None,
    config: Optional[Path] = None,
    init: Optional[Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[OnProgress] = None,
) -> Outcome: ...
def sfbd(
    data: Optional[Data],
    out: Path,
    *,
    noisy: Optional[Data] = None,
    sigma: Union[None, float, str] = None,
    model: Optional[Path] = None,
    settings: Optional[Settings] = None,
    preset: Optional[str] = None,
    config: Optional[Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[OnProgress] = None,
) -> Outcome: ...
def ambient(
    data: Optional[Data],
    out: Path,
    *,
    noisy: Optional[Data] = None,
    sigma: Union[None, float, str] = None,
    settings: Optional[Settings] = None,
    preset: Optional[str] = None,
    config: Optional[Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[OnProgress] = None,
) -> Outcome: ...
def csc(
    model: Path,
    data: Data,
    out: Path,
    *,
    settings: Optional[Settings] = None,
    preset: Optional[str] = None,
    config: Optional[Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[OnProgress] = None,
) -> Outcome: ...
def kdgan(
    data: Data,
    out: Path,
    *,
    settings: Optional[Settings] = None,
    preset: Optional[str] = None,
    config: Optional[Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[OnProgress] = None,
) -> Outcome: ...
def triple_gan(
    data: Data,
    out: Path,
    *,
    settings: Optional[Settings] = None,
    preset: Optional[str] = None,
    config: Optional[Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[OnProgress] = None,
) -> Outcome: ...
def collapse(**keywords: Union[str, float, bool, None]) -> Dict[str, Any]: ...
def frechet_distance(a: Array, b: Array) -> float: ...
def kid(a: Array, b: Array) -> Kid: ...
def kid_subsets(a: Array, b: Array, subsets: int = 100, size: int = 1000, seed: int = 0) -> KidSubsets: ...
def mmd(a: Array, b: Array, bandwidth: Union[None, float, Array] = None) -> float: ...
def energy_distance(a: Array, b: Array) -> float: ...
def median_distance(a: Array, b: Array) -> float: ...
def wasserstein_1d(a: Array, b: Array, p: float = 1.0) -> float: ...
def sliced_wasserstein(a: Array, b: Array, directions: int = 500, p: float = 1.0, seed: int = 0) -> float: ...
def precision_recall(real: Array, fake: Array, k: int = 3) -> PrecisionRecall: ...
def density_coverage(real: Array, fake: Array, k: int = 5) -> DensityCoverage: ...
def inception_score(probabilities: Array, splits: int = 10) -> InceptionScore: ...
def classification(logits: Array, labels: Array, bins: int = 15) -> Classification: ...
def ranking(scores: Array, targets: Array, cutoffs: Sequence[int] = ...) -> Ranking: ...
def multilabel_f1(scores: Array, targets: Array, threshold: float = 0.5) -> MultilabelF1: ...
