//! The hub: collects the logs of a site's terminals and gives them the gallery.

fn main() {}
