//! The shipped manifest and its files.

use std::path::Path;

use rollcall_vision::{Calibration, Models, SiteScores};

fn shipped() -> Models {
    Models::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")).unwrap()
}

#[test]
fn every_network_of_the_manifest_is_the_file_that_it_means_and_has_a_card() {
    let models = shipped();
    for entry in models.entries() {
        models.read(entry).unwrap();
        let card = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(&entry.card);
        assert!(card.is_file(), "{} has no card {}", entry.name, entry.card);
    }
}

#[test]
fn no_liveness_network_is_shipped() {
    assert!(shipped().liveness().unwrap().is_none());
}

#[test]
fn the_shipped_scores_calibrate_a_door_from_the_first_day() {
    let models = shipped();
    let calibration = Calibration::new(&models.embedding().unwrap().scores, 3).unwrap();
    let threshold = |size| calibration.threshold(0.01, size, &SiteScores::new(0)).unwrap().score;
    assert_eq!(calibration.populations().collect::<Vec<_>>(), ["LFW", "East Asian"]);
    assert!((0.5..0.6).contains(&threshold(13)), "{}", threshold(13));
    assert!((0.6..0.75).contains(&threshold(1_000)), "{}", threshold(1_000));
}
