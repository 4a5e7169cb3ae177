//! What a shared object without any libc must bring itself.
