//! The cases of the suite `families`, each as a test of its own.

#[macro_use]
#[path = "common/cases.rs"]
mod cases;

use netobs_lab::suite::families;

fn run(name: &str) {
    cases::run(&families::SUITE, name);
}

netobs_lab::families_cases!(tests);
