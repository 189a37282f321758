//! The hub that this terminal belongs to: how it comes to belong to one, and what it then has of it.

mod connect;
mod join;
mod link;
#[cfg(test)]
mod tests;

pub use join::{Hubs, Introducing, Introduction};
pub use link::InTouch;
