//! The cases of the suite `skeleton`, each as a test of its own.

#[macro_use]
#[path = "common/cases.rs"]
mod cases;

use netobs_lab::suite::skeleton;

fn run(name: &str) {
    cases::run(&skeleton::SUITE, name);
}

netobs_lab::skeleton_cases!(tests);
