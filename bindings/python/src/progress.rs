//! A run, seen from Python.

use pyo3::prelude::*;
use veridical::stop::Stop;
use veridical::train::{Observer, Started, Tick};

use crate::outcome::named;

/// Calls a function after each step, and gives notes to Python's logger `veridical`.
pub struct Callback {
    call: Option<Py<PyAny>>,
    /// What it raised.
    raised: Option<PyErr>,
    steps: u64,
}

impl Callback {
    pub fn new(call: Option<Py<PyAny>>) -> Self {
        Callback { call, raised: None, steps: 0 }
    }

    /// What the function raised, in place of what came of the run that was stopped by it.
    pub fn or_raised<T>(&mut self, result: PyResult<T>) -> PyResult<T> {
        self.raised.take().map_or(result, Err)
    }

    /// What a call to Python raised ends the run, with everything complete.
    fn heard(&mut self, result: PyResult<()>) {
        if let Err(raised) = result {
            self.raised.get_or_insert(raised);
            Stop::current().iter().for_each(Stop::request);
        }
    }
}

impl Observer for Callback {
    fn started(&mut self, run: &Started) {
        self.steps = run.steps;
        let &Started { parameters, first, steps, .. } = run;
        self.note(&format!("{parameters} parameters on {}; steps {first} to {steps}", run.device));
        self.note(&format!("on disk: {}", run.leaves.join("; ")));
    }

    fn ticked(&mut self, tick: &Tick, rate: f64, images: u64) {
        let Some(call) = &self.call else { return };
        let result = Python::attach(|py| {
            let numbers = (tick.step, self.steps, tick.seen, images, tick.loss, tick.learning_rate, rate);
            call.call1(py, (named(py, "Progress", numbers)?,)).map(drop)
        });
        self.heard(result);
    }

    fn note(&mut self, text: &str) {
        let result = Python::attach(|py| {
            let logger = py.import("logging")?.call_method1("getLogger", ("veridical",))?;
            logger.call_method1("info", ("%s", text)).map(drop)
        });
        self.heard(result);
    }

    fn stop(&mut self) -> bool {
        self.raised.is_some()
    }
}
