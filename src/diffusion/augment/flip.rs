//! Mirroring, of which the network is not told.

use crate::error::Result;
use crate::random::{Purpose, RandomKey};

/// The site of the coins; the pipe that the network is told of has the sites before.
const SITE: u32 = 2;

/// Mirrors images `[n, height, width, channels]` in place left to right, each with probability one half: samples
/// `first` and following of a training step.
pub fn flip(
    images: &mut [f32],
    [height, width, channels]: [usize; 3],
    (seed, step): (u64, u32),
    first: u32,
) -> Result<()> {
    let stream = RandomKey::new(seed, Purpose::Augmentation).at_step(step).at_site(SITE).stream()?;
    for (i, image) in images.chunks_exact_mut((height * width * channels).max(1)).enumerate() {
        if stream.word(first + i as u32, 0) >> 31 == 1 {
            image.chunks_exact_mut(width * channels).for_each(|row| mirror(row, channels));
        }
    }
    Ok(())
}

/// The pixels of a row in the opposite order.
fn mirror(row: &mut [f32], channels: usize) {
    let width = row.len() / channels;
    for x in 0..width / 2 {
        for channel in 0..channels {
            row.swap(x * channels + channel, (width - 1 - x) * channels + channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_images_are_mirrored_whatever_batch_they_are_in() {
        let (size, n) = ([2, 3, 2], 400);
        let image: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mirrored = [4., 5., 2., 3., 0., 1., 10., 11., 8., 9., 6., 7.];
        let mut images = image.repeat(n);
        flip(&mut images, size, (3, 7), 5).unwrap();
        let flips: Vec<bool> = images.chunks(12).map(|found| found == mirrored).collect();
        assert!(images.chunks(12).all(|found| found == mirrored || found == image));
        // Within four standard deviations of one half.
        let count = flips.iter().filter(|&&flipped| flipped).count();
        assert!((160..=240).contains(&count), "{count}");
        let mut part = image.repeat(10);
        flip(&mut part, size, (3, 7), 5 + 90).unwrap();
        assert_eq!(part[..], images[90 * 12..100 * 12]);
        let mut other = image.repeat(n);
        flip(&mut other, size, (3, 8), 5).unwrap();
        assert_ne!(other, images);
    }
}
