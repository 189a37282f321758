//! What the machine says of itself: disk, temperature, memory.
//!
//! Reads a few small files of the kernel; each value that cannot be read is absent.

use std::path::Path;

/// The machine as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// Bytes that this program may still write where its data are.
    pub disk_free_bytes: u64,
    /// Bytes of that file system.
    pub disk_size_bytes: u64,
    /// Of the processor.
    pub temperature_celsius: Option<f32>,
    /// Memory that this program holds.
    pub memory_bytes: u64,
}

impl Machine {
    /// Reads it; `data_folder` says which disk is meant.
    pub fn read(data_folder: &Path) -> Self {
        let disk = rustix::fs::statvfs(data_folder).ok();
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let page_size_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        Self {
            disk_free_bytes: disk.as_ref().map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            disk_size_bytes: disk.as_ref().map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
            temperature_celsius: temperature(Path::new("/sys/class/thermal")),
            memory_bytes: resident_pages(&statm).unwrap_or(0).saturating_mul(page_size_bytes),
        }
    }
}

/// The second number of /proc/self/statm.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The warmest zone that is the processor's by its name, else the warmest of all.
fn temperature(thermal: &Path) -> Option<f32> {
    let zones = std::fs::read_dir(thermal).ok()?.filter_map(|entry| {
        let zone = entry.ok()?.path();
        let celsius = celsius(&std::fs::read_to_string(zone.join("temp")).ok()?)?;
        let kind = std::fs::read_to_string(zone.join("type")).unwrap_or_default();
        Some((is_processor(kind.trim()), celsius))
    });
    zones.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(_, celsius)| celsius)
}

/// A zone's type: `cpu-thermal` on a Raspberry Pi, `x86_pkg_temp` on a PC.
fn is_processor(kind: &str) -> bool {
    ["cpu", "soc", "x86_pkg_temp", "k10temp"].iter().any(|known| kind.starts_with(known))
}

/// From thousandths; `None` for what no processor survives, which some virtual machines say.
fn celsius(text: &str) -> Option<f32> {
    let celsius = text.trim().parse::<f32>().ok()? / 1_000.0;
    (-40.0..150.0).contains(&celsius).then_some(celsius)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn this_machine_has_a_disk_and_memory() {
        let machine = Machine::read(Path::new("/tmp"));
        assert!(machine.disk_size_bytes >= machine.disk_free_bytes && machine.disk_size_bytes > 0);
        assert!(machine.memory_bytes > 1 << 20, "{machine:?}");
    }

    #[test]
    fn the_processors_temperature_goes_before_others() {
        let thermal = tempfile::tempdir().unwrap();
        assert_eq!(temperature(thermal.path()), None);
        for (zone, kind, temp) in [
            ("thermal_zone0", "acpitz\n", "61000\n"),
            ("thermal_zone1", "cpu-thermal\n", "48312\n"),
            ("thermal_zone2", "cpu-1-thermal\n", "nonsense"),
            ("thermal_zone3", "soc\n", "-274000\n"),
        ] {
            std::fs::create_dir(thermal.path().join(zone)).unwrap();
            std::fs::write(thermal.path().join(zone).join("type"), kind).unwrap();
            std::fs::write(thermal.path().join(zone).join("temp"), temp).unwrap();
        }
        assert_eq!(temperature(thermal.path()), Some(48.312));
    }
}
