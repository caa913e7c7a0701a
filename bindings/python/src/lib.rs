//! The Python package `veridical`: the library's functions with NumPy's arrays, and its command.
//!
//! Arrays are copied on their way in (once, or twice where they become a tensor) and once on their way out; nothing here
//! is `unsafe`. Work is done on a thread of its own, without Python's lock, while the calling one looks for signals
//! ([`work`]).

mod arrays;
mod collapse;
mod data;
mod errors;
mod likelihood;
mod methods;
mod metrics;
mod model;
mod options;
mod outcome;
mod progress;
mod sampling;
mod settings;
mod training;
mod work;

/// What `import veridical` brings; see there.
#[pyo3::pymodule]
mod _veridical {
    #[pymodule_export]
    use crate::collapse::collapse;
    #[pymodule_export]
    use crate::methods::{ambient, csc, kdgan, sfbd, triple_gan};
    #[pymodule_export]
    use crate::metrics::{
        classification, density_coverage, energy_distance, frechet_distance, inception_score, kid, kid_subsets,
        median_distance, mmd, multilabel_f1, precision_recall, ranking, sliced_wasserstein, wasserstein_1d,
    };
    #[pymodule_export]
    use crate::model::{Model, load};
    #[pymodule_export]
    use crate::outcome::Outcome;
    #[pymodule_export]
    use crate::training::train;
    use pyo3::prelude::*;

    /// The names of the solvers that `Model.sample` takes.
    #[pyfunction]
    fn solvers() -> Vec<&'static str> {
        veridical::diffusion::solvers::NAMES.to_vec()
    }

    /// The command `veridical` with these arguments, of which the first is the name of the program; returns its exit
    /// code. For a process that does nothing else.
    #[pyfunction]
    fn command(py: Python, args: Vec<std::ffi::OsString>) -> u8 {
        py.detach(|| {
            let code = veridical::cli::command(args, None);
            // What has no end of line yet: nobody else flushes it in a process whose `main` is Python's.
            let _ = std::io::Write::flush(&mut std::io::stdout());
            code
        })
    }

    #[pymodule_init]
    fn init(module: &Bound<PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
