//! Networks that play against each other: what a discriminator, a generator, a teacher and a student go down on.
