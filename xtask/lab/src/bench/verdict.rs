//! The lines a bench ends in: what was reached, beside what was to be reached.

use std::process::ExitCode;

/// One figure that is judged. Smaller is better.
#[derive(Debug)]
struct Verdict {
    name: String,
    ratio: f64,
    goal: f64,
    /// How far from each other two measurements of the same thing were in this run, as a ratio of at least 1.
    noise: f64,
}

/// All that are judged in a run.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<Verdict>);

impl Verdicts {
    /// Adds a ratio that is to be at most `goal`.
    pub fn at_most(&mut self, name: impl Into<String>, ratio: f64, goal: f64) {
        self.at_most_or_noise(name, ratio, goal, 1.0);
    }

    /// Adds a ratio that is to be at most `goal`, or else not to stand out from `noise`.
    pub fn at_most_or_noise(&mut self, name: impl Into<String>, ratio: f64, goal: f64, noise: f64) {
        self.0.push(Verdict { name: name.into(), ratio, goal, noise });
    }

    /// Prints a line each. Success if all goals were met.
    pub fn print(&self) -> ExitCode {
        for Verdict { name, ratio, goal, .. } in &self.0 {
            anstream::println!("bench {name}: ratio {ratio:.3} goal {goal:.2}");
        }
        let missed: Vec<_> =
            self.0.iter().filter(|verdict| !verdict.met()).map(|verdict| verdict.name.as_str()).collect();
        if missed.is_empty() {
            return ExitCode::SUCCESS;
        }
        anstream::eprintln!("missed: {}", missed.join(", "));
        ExitCode::FAILURE
    }
}

impl Verdict {
    /// A ratio that is not a number has not been measured, so it has met nothing.
    fn met(&self) -> bool {
        self.ratio <= self.goal || (self.goal >= 1.0 && self.ratio <= self.noise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_excuses_what_does_not_stand_out_from_it() {
        let met = |ratio, goal, noise| Verdict { name: String::new(), ratio, goal, noise }.met();
        assert!(met(1.05, 1.1, 1.0));
        assert!(!met(1.2, 1.1, 1.05));
        assert!(met(1.2, 1.1, 1.25));
        assert!(!met(0.2, 0.1, 1.5), "noise of two equal things says nothing about a tenth");
        assert!(!met(f64::NAN, 1.1, 1.0));
    }
}
