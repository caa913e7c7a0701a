import os
import pathlib
from types import TracebackType
from typing import Any, Callable, Dict, List, Literal, Mapping, Optional, Sequence, Tuple, Type, Union, final, overload

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
_Array = Union[ArrayLike, Any]
_Path = Union[str, "os.PathLike[str]"]
# A path, the name of a set, an array, or images with their labels.
_Data = Union[_Path, _Array, Tuple[_Array, _Array]]
_Settings = Mapping[str, Any]
_OnProgress = Callable[[Progress], object]

__version__: str

@final
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
    def save(self, path: _Path) -> None: ...
    def denoise(
        self, x: _Array, sigma: Union[float, _Array], labels: Union[None, int, str, _Array] = None
    ) -> NDArray[np.floating[Any]]: ...
    @overload
    def sample(
        self,
        n: Union[None, int, Sequence[int]] = None,
        seed: int = 0,
        *,
        labels: Union[None, int, str, _Array] = None,
        no_class: bool = False,
        guidance: Optional[float] = None,
        guidance_model: Optional["Model"] = None,
        guidance_interval: Optional[Tuple[float, float]] = None,
        latents: Optional[_Array] = None,
        start: Optional[_Array] = None,
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
        x: _Array,
        labels: Union[None, int, str, _Array] = None,
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
    def to_data(self, x: _Array) -> NDArray[Any]: ...
    def from_data(self, x: _Array) -> NDArray[np.float32]: ...

@final
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
def load(path: _Path, device: str = "cpu") -> Model: ...
def train(
    data: _Data,
    out: _Path,
    *,
    settings: Optional[_Settings] = None,
    preset: Optional[str] = None,
    config: Optional[_Path] = None,
    init: Optional[_Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[_OnProgress] = None,
) -> Outcome: ...
def sfbd(
    data: Optional[_Data],
    out: _Path,
    *,
    noisy: Optional[_Data] = None,
    sigma: Union[None, float, str] = None,
    model: Optional[_Path] = None,
    settings: Optional[_Settings] = None,
    preset: Optional[str] = None,
    config: Optional[_Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[_OnProgress] = None,
) -> Outcome: ...
def ambient(
    data: Optional[_Data],
    out: _Path,
    *,
    noisy: Optional[_Data] = None,
    sigma: Union[None, float, str] = None,
    settings: Optional[_Settings] = None,
    preset: Optional[str] = None,
    config: Optional[_Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[_OnProgress] = None,
) -> Outcome: ...
def csc(
    model: _Path,
    data: _Data,
    out: _Path,
    *,
    settings: Optional[_Settings] = None,
    preset: Optional[str] = None,
    config: Optional[_Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[_OnProgress] = None,
) -> Outcome: ...
def kdgan(
    data: _Data,
    out: _Path,
    *,
    settings: Optional[_Settings] = None,
    preset: Optional[str] = None,
    config: Optional[_Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[_OnProgress] = None,
) -> Outcome: ...
def triple_gan(
    data: _Data,
    out: _Path,
    *,
    settings: Optional[_Settings] = None,
    preset: Optional[str] = None,
    config: Optional[_Path] = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: Optional[float] = None,
    progress: Optional[_OnProgress] = None,
) -> Outcome: ...
def collapse(**keywords: Union[str, float, bool, None]) -> Dict[str, Any]: ...
def frechet_distance(a: _Array, b: _Array) -> float: ...
def kid(a: _Array, b: _Array) -> Kid: ...
def kid_subsets(a: _Array, b: _Array, subsets: int = 100, size: int = 1000, seed: int = 0) -> KidSubsets: ...
def mmd(a: _Array, b: _Array, bandwidth: Union[None, float, _Array] = None) -> float: ...
def energy_distance(a: _Array, b: _Array) -> float: ...
def median_distance(a: _Array, b: _Array) -> float: ...
def wasserstein_1d(a: _Array, b: _Array, p: float = 1.0) -> float: ...
def sliced_wasserstein(a: _Array, b: _Array, directions: int = 500, p: float = 1.0, seed: int = 0) -> float: ...
def precision_recall(real: _Array, fake: _Array, k: int = 3) -> PrecisionRecall: ...
def density_coverage(real: _Array, fake: _Array, k: int = 5) -> DensityCoverage: ...
def inception_score(probabilities: _Array, splits: int = 10) -> InceptionScore: ...
def classification(logits: _Array, labels: _Array, bins: int = 15) -> Classification: ...
def ranking(scores: _Array, targets: _Array, cutoffs: Sequence[int] = ...) -> Ranking: ...
def multilabel_f1(scores: _Array, targets: _Array, threshold: float = 0.5) -> MultilabelF1: ...
