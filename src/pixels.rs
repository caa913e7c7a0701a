//! What a value of a picture means as a number, for whoever reads or draws one: 0 is -1, and the greatest value is 1.

/// What byte `b` means as a pixel.
pub fn of_byte(b: u8) -> f32 {
    f32::from(b) / 127.5 - 1.0
}

/// What a value of 16 bits means as a pixel. A byte `b`, which is 257 b of them, means what it means elsewhere.
#[cfg(feature = "formats")]
pub fn of_word(word: u16) -> f32 {
    ((f64::from(word) - 32767.5) / 32767.5) as f32
}

/// The byte nearest to a pixel, which is clipped to [-1, 1].
pub fn to_byte(pixel: f32) -> u8 {
    ((pixel.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

/// The red, green and blue that are drawn for a pixel of one channel or of three: magenta, which no digit has, for one
/// that is not finite.
#[cfg(feature = "formats")]
pub fn to_rgb(pixel: &[f32]) -> [u8; 3] {
    match *pixel {
        _ if pixel.iter().any(|value| !value.is_finite()) => [255, 0, 255],
        [r, g, b] => [r, g, b].map(to_byte),
        _ => [to_byte(pixel[0]); 3],
    }
}
