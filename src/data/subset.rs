//! Labelled subsets: which images keep their labels where only a few are to have any, and which are set apart to
//! validate with.
//!
//! What is drawn is a function of the seed alone, and given out as rising indices, for
//! [`Images::select`](super::Images::select).
//!
//! ```
//! use veridical::data::{digits, subset};
//! let images = digits::load()?.train;
//! let labelled = subset::balanced(&images, 100, 1)?;
//! let few = images.select(&labelled.chosen)?;
//! assert_eq!(few.class_counts(), [10; 10]);
//! # Ok::<(), veridical::Error>(())
//! ```

use super::Images;
use crate::random::{Purpose, RandomKey, permutation};
use crate::{Error, Result};

/// Images that were chosen, and the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subset {
    /// Indices of the images that were chosen, rising.
    pub chosen: Vec<u32>,
    /// Indices of all others, rising.
    pub rest: Vec<u32>,
    /// Classes of the set that none of the chosen images belongs to, rising: what is trained on these alone cannot know
    /// them, which is worth a warning.
    pub absent: Vec<u32>,
}

/// How much [`split`] takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// This share, rounded to whole images, of which there is at least one.
    Fraction(f64),
    /// So many.
    Count(usize),
}

/// Sites of the random numbers, beside those of the methods and of other splits.
const RANDOM: u32 = 4;
const CLASS_ORDER: u32 = 5;
const WITHIN_CLASS: u32 = 6;
const SPLIT: u32 = 7;

/// The last `n` images, as they are: classes occur as often as they happen to. This is what the published results of
/// KDGAN on MNIST were trained on (Wang et al. 2018), and another problem than a [`balanced`] subset.
///
/// Errors if `n` is 0 or more than there are images.
pub fn last(images: &Images, n: usize) -> Result<Subset> {
    let count = checked("subset::last", images, n)?;
    Ok(of(images, |index| index >= images.len() - count))
}

/// `n` images, all sets of `n` equally likely.
///
/// Errors if `n` is 0 or more than there are images.
pub fn random(images: &Images, n: usize, seed: u64) -> Result<Subset> {
    let count = checked("subset::random", images, n)?;
    let order = permutation(&key(seed, RANDOM).stream()?, images.len() as u32);
    Ok(of_drawn(images, &order[..count]))
}

/// `n / classes` images of each class, drawn from those of the class; where that leaves a remainder, one more of each
/// of the first classes in a random order. So with fewer images than classes, some classes have none.
///
/// Errors if `n` is 0 or more than there are images, and on a class with too few images, which it names.
pub fn balanced(images: &Images, n: usize, seed: u64) -> Result<Subset> {
    const NAME: &str = "subset::balanced";
    checked(NAME, images, n)?;
    let classes = images.classes();
    let class_count = u32::try_from(classes).map_err(|_| Error::argument(NAME, format!("{classes} classes")))?;
    let mut quota = vec![n / classes; classes];
    let order = permutation(&key(seed, CLASS_ORDER).stream()?, class_count);
    order.iter().take(n % classes).for_each(|&class| quota[class as usize] += 1);
    let mut members = vec![Vec::new(); classes];
    images.labels().iter().zip(0..).for_each(|(&label, index)| members[label as usize].push(index));
    let mut drawn: Vec<u32> = Vec::with_capacity(n);
    for (class, (members, quota)) in members.iter().zip(quota).enumerate() {
        if members.len() < quota {
            let least = n / classes;
            let what = format!(
                "{n} images are {least} or more of each of {classes} classes, but class {class} has {}; take fewer, or \
                 any at random",
                members.len()
            );
            return Err(Error::argument(NAME, what));
        }
        if quota > 0 {
            let order = permutation(&key(seed, WITHIN_CLASS).at_step(class as u32).stream()?, members.len() as u32);
            drawn.extend(order[..quota].iter().map(|&place| members[place as usize]));
        }
    }
    Ok(of_drawn(images, &drawn))
}

/// Some of `indices`, drawn at random to validate with, and the others: `(taken, left)`, both in the order of
/// `indices`.
///
/// Errors if the part is not a fraction between 0 and 1, or takes none or all of the indices.
pub fn split(indices: &[u32], part: Part, seed: u64) -> Result<(Vec<u32>, Vec<u32>)> {
    const NAME: &str = "subset::split";
    let all = indices.len();
    let length = u32::try_from(all).map_err(|_| Error::argument(NAME, format!("{all} indices; at most 2^32 - 1")))?;
    let count = match part {
        Part::Count(count) => count,
        Part::Fraction(fraction) if fraction > 0.0 && fraction < 1.0 => {
            ((all as f64 * fraction).round() as usize).max(1)
        }
        Part::Fraction(other) => {
            return Err(Error::argument(NAME, format!("a fraction of {other}; give one between 0 and 1")));
        }
    };
    if count == 0 || count >= all {
        let what = format!("{count} of {all} images ({part:?}); at least one must be taken and one be left");
        return Err(Error::argument(NAME, what));
    }
    let mut is_taken = vec![false; all];
    let order = permutation(&key(seed, SPLIT).stream()?, length);
    order[..count].iter().for_each(|&place| is_taken[place as usize] = true);
    let pick = |taken: bool| indices.iter().zip(&is_taken).filter(|(_, is)| **is == taken).map(|(&i, _)| i).collect();
    Ok((pick(true), pick(false)))
}

fn key(seed: u64, site: u32) -> RandomKey {
    RandomKey::new(seed, Purpose::Split).at_site(site)
}

fn checked(name: &'static str, images: &Images, n: usize) -> Result<usize> {
    if n == 0 || n > images.len() || u32::try_from(images.len()).is_err() {
        return Err(Error::argument(name, format!("{n} of {} images; take from 1 to all of them", images.len())));
    }
    Ok(n)
}

fn of_drawn(images: &Images, drawn: &[u32]) -> Subset {
    let mut is = vec![false; images.len()];
    drawn.iter().for_each(|&index| is[index as usize] = true);
    of(images, |index| is[index])
}

fn of(images: &Images, is_chosen: impl Fn(usize) -> bool) -> Subset {
    let (chosen, rest): (Vec<u32>, Vec<u32>) = (0..images.len() as u32).partition(|&index| is_chosen(index as usize));
    let mut there = vec![false; images.classes()];
    chosen.iter().for_each(|&index| there[images.labels()[index as usize] as usize] = true);
    let absent = (0..).zip(&there).filter(|(_, there)| !**there).map(|(class, _)| class).collect();
    Subset { chosen, rest, absent }
}
