//! Random numbers of a seed: SplitMix64 (Steele, Lea, Flood, 2014), so that a seed is the same run for ever, whatever
//! library is at hand.

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to one less than `count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.number() % count.max(1) as u64) as usize
    }

    /// From `least` to `most`.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        least + (self.number() % (most - least + 1) as u64) as i64
    }

    /// True so many times of a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn id(&mut self) -> [u8; 16] {
        let (high, low) = (self.number(), self.number());
        std::array::from_fn(|at| (if at < 8 { high >> (8 * at) } else { low >> (8 * (at - 8)) }) as u8)
    }
}
