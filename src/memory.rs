//! Memory that a user's numbers ask for, asked for before it is needed.

use crate::error::{Error, Result};

/// Errors unless the system grants `bytes`; `what` says what takes them, with the number that makes it so many, and
/// `advice` what to do.
///
/// A vector that finds no memory ends the process, whatever was at stake. So what grows with a number on a command line
/// or in a settings file is asked for here first: the bytes are reserved, which `ulimit -v` and the machine's size may
/// refuse, and given back untouched.
///
/// ```
/// let error = veridical::memory::check(1 << 62, "a table of 2^59 entries", "lower --order").unwrap_err();
/// assert_eq!(error.to_string(), "a table of 2^59 entries takes about 4611686018.4 GB (4611686018427387904 bytes), which cannot be had; lower --order");
/// ```
pub fn check(bytes: u128, what: &str, advice: &str) -> Result<()> {
    let asked = usize::try_from(bytes).unwrap_or(usize::MAX);
    Vec::<u8>::new().try_reserve_exact(asked).map_err(|_| {
        let gigabytes = bytes as f64 / 1e9;
        Error::Config(format!("{what} takes about {gigabytes:.1} GB ({bytes} bytes), which cannot be had; {advice}"))
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_there_is_granted_and_what_is_not_is_an_error_with_its_size() {
        assert!(check(0, "nothing", "").is_ok() && check(1 << 20, "a megabyte", "").is_ok());
        for bytes in [1 << 60, u128::from(u64::MAX), u128::MAX] {
            let error = check(bytes, "a batch of 2^50 images", "lower train.batch").unwrap_err().to_string();
            assert!(error.contains(&format!("({bytes} bytes)")) && error.contains("lower train.batch"), "{error}");
        }
    }
}
