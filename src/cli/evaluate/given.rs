//! Features and statistics of them from files.

use std::path::Path;

use veridical::data::npy::{self, Array};
use veridical::evaluate::Features;
use veridical::metrics::Gaussian;
use veridical::{Error, Result};

use crate::cli::output::ending;

/// What is known of a sample's features.
pub enum Given {
    Features(Features),
    Statistics(Box<Gaussian>),
}

impl Given {
    /// Mean and covariance.
    pub fn gaussian(self) -> Result<Gaussian> {
        match self {
            Given::Features(features) => Gaussian::of(&features.values, features.dims),
            Given::Statistics(gaussian) => Ok(*gaussian),
        }
    }
}

/// A `.npy` file of features `[n, dims]`, or a `.npz` file with their mean `mu` `[dims]` and covariance `sigma`
/// `[dims, dims]`.
pub fn read(path: &Path) -> Result<Given> {
    match ending(path).as_str() {
        "npz" => statistics(path).map(|gaussian| Given::Statistics(Box::new(gaussian))),
        "pkl" => {
            let what = "a pickle, which may run programs and is not read; statistics of EDM become .npz by \
                        scripts/edm_statistics.py";
            Err(Error::format(path, what))
        }
        _ => features(path).map(Given::Features),
    }
}

fn features(path: &Path) -> Result<Features> {
    let array = npy::read(path)?;
    let [_, dims] = array.shape[..] else {
        let what = format!("features [n, dims] are expected, found an array {:?}", array.shape);
        return Err(Error::format(path, what));
    };
    let features = Features::given(array.to_f64(), dims);
    match features.not_finite() {
        None => Ok(features),
        Some((row, column, value)) => {
            let what =
                format!("row {row} (counted from 0) holds {value} in column {column}; every number must be finite");
            Err(Error::format(path, what))
        }
    }
}

fn statistics(path: &Path) -> Result<Gaussian> {
    let [mu, sigma] = npy::read_npz_members(path, ["mu", "sigma"])?;
    let wrong = |what: String| Err(Error::format(path, what));
    let shape = |array: &Array| array.shape.clone();
    let [dims] = mu.shape[..] else {
        return wrong(format!("mu is to be a mean [dims], found an array {:?}", shape(&mu)));
    };
    match sigma.shape[..] {
        [rows, columns] if rows != columns => {
            wrong(format!("sigma is to be a square, found {rows} rows of {columns} numbers"))
        }
        [rows, _] if rows != dims => {
            wrong(format!("sigma is [{rows}, {rows}] beside a mu of {dims} numbers: they are of different features"))
        }
        [_, _] => Gaussian::new(mu.to_f64(), &sigma.to_f64()).map_err(|e| match e {
            Error::Stopped => e,
            other => Error::format(path, format!("mu and sigma: {other}")),
        }),
        _ => wrong(format!("sigma is to be a covariance [dims, dims], found an array {:?}", shape(&sigma))),
    }
}
