//! What a verifier of attestlog does for every line, made fast. It may only accept.
//!
//! `Judge.scan` says "these lines, from the state that the first one follows, are exactly right", with the
//! state after them and what Python has to look at; or None, "ask Python". It makes no finding and no message:
//! what is odd, not understood, or wrong is for Python, and so is a panic.

pub mod batch;
pub mod chunk;
pub mod entry;
pub mod find;
pub mod hash;
pub mod json;
pub mod rules;

use chunk::{Chunk, Event};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use rules::{Demand, Rules};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// The formats that are known here. Python uses the module only if this is its own number.
const FORMAT: u32 = 1;

/// Runs without the interpreter's lock. What fails, in whatever way, is None.
fn quietly<T: Send>(py: Python<'_>, work: impl Send + FnOnce() -> Option<T>) -> Option<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work)).ok().flatten())
}

/// Judges lines by the rules that were given when it was made.
#[pyclass(frozen)]
struct Judge(Rules);

#[pymethods]
impl Judge {
    /// `keys`: id and algorithm of each key in force. `weights`: in the order of the sum.
    /// `pointers`: to rules and to holds, as entries spell them.
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(
        keys: Vec<(String, String)>,
        weights: [f64; 4],
        safety_floor: f64,
        floor_per_pillar: bool,
        pointers: (String, Option<String>),
        has_rules: bool,
        names_actors: bool,
    ) -> Judge {
        let rules =
            Rules::new(keys, weights, safety_floor, floor_per_pillar, pointers, has_rules, names_actors);
        Judge(rules)
    }

    /// What data[start:stop], whole lines with their line ends, comes to; None: ask Python.
    fn scan<'py>(
        &self,
        py: Python<'py>,
        data: &'py [u8],
        start: usize,
        stop: usize,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(lines) = data.get(start..stop) else {
            return Ok(None);
        };
        let found = quietly(py, || chunk::scan(lines, &self.0).ok());
        found.map(|found| tell(py, &found)).transpose()
    }

    /// Remember what is demanded of entries with this key: these proofs, a bit each; None: ask Python.
    fn learn(&self, key: Vec<u8>, proofs: Option<u8>) {
        self.0.learn(key, proofs.map_or(Demand::Python, Demand::Proofs));
    }
}

/// A chunk as Python reads it.
fn tell<'py>(py: Python<'py>, found: &Chunk<'_>) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    let (number, previous, timestamp) = found.first;
    told.set_item("first", (number, text(previous), text(timestamp)))?;
    if let Some((number, hash, timestamp)) = &found.last {
        told.set_item("last", (number, text(hash), text(timestamp)))?;
    }
    told.set_item("entries", found.leaves.len())?;
    told.set_item("leaves", PyBytes::new(py, found.leaves.as_flattened()))?;
    let starts: Vec<u8> = found.starts.iter().flat_map(|start| start.to_le_bytes()).collect();
    told.set_item("starts", PyBytes::new(py, &starts))?;
    told.set_item("keys", &found.keys)?;
    told.set_item("before_batch", found.before_batch.map(text))?;
    told.set_item("erased", found.erased)?;
    let wanted: Vec<_> = found.wanted.iter().map(|(number, wanted)| (*number, text(wanted))).collect();
    told.set_item("wanted", wanted)?;
    told.set_item("ids", PyBytes::new(py, &found.ids))?;
    told.set_item("last_ids", PyList::new(py, found.last_ids.iter().map(|id| text(id)))?)?;
    let signatures = PyList::empty(py);
    for signed in &found.signatures {
        let (signature, message) = (PyBytes::new(py, &signed.signature), PyBytes::new(py, &signed.message));
        signatures.append((signed.key, signature, message))?;
    }
    told.set_item("signatures", signatures)?;
    let events = PyList::empty(py);
    for (ordinal, event) in &found.events {
        events.append(tell_event(py, *ordinal, event)?)?;
    }
    told.set_item("events", events)?;
    let questions = PyList::empty(py);
    for (key, question) in &found.questions {
        let names = (text(question.event_type), text(question.action_type), text(question.actor_id));
        questions.append((PyBytes::new(py, key), names, &question.ordinals))?;
    }
    told.set_item("questions", questions)?;
    Ok(told)
}

fn tell_event<'py>(py: Python<'py>, ordinal: usize, event: &Event<'_>) -> PyResult<Bound<'py, PyTuple>> {
    match event {
        Event::Judge => (ordinal, "judge").into_pyobject(py),
        Event::Intent { entry_id, is_forbidden, act } => {
            (ordinal, "intent", text(entry_id), *is_forbidden, PyBytes::new(py, act)).into_pyobject(py)
        }
        Event::End { depends_on, has_acted, act } => {
            let depends_on: Vec<_> = depends_on.iter().map(|wanted| text(wanted)).collect();
            let depends_on = PyTuple::new(py, depends_on)?;
            (ordinal, "end", depends_on, *has_acted, PyBytes::new(py, act)).into_pyobject(py)
        }
        Event::Counter { session, counter } => {
            (ordinal, "counter", PyBytes::new(py, session), *counter).into_pyobject(py)
        }
    }
}

/// Bytes of a line that was UTF-8.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// The offset of the first whole line, from `start` on, that begins a batch; None if none does, and -1 where
/// more lines are passed than a batch can have.
#[pyfunction]
fn edge(py: Python<'_>, data: &[u8], start: usize) -> Option<isize> {
    match quietly(py, || Some(chunk::edge(data, start))) {
        Some(Ok(found)) => found.and_then(|at| isize::try_from(at).ok()),
        _ => Some(-1),
    }
}

/// The lines, begin and end, in which one of these ids or hashes may be the entry's own.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn candidates(py: Python<'_>, data: &[u8], mut wanted: Vec<Vec<u8>>) -> Vec<(usize, usize)> {
    quietly(py, || {
        wanted.sort();
        Some(find::candidates(data, &wanted))
    })
    .unwrap_or_default()
}

/// For tests: whether these bytes are the one spelling of a JSON value that stands at level 1.
#[pyfunction]
fn is_canonical(py: Python<'_>, data: &[u8]) -> bool {
    let read = || {
        let mut frames = json::Frames::default();
        let mut cursor = json::Cursor::new(data, &mut frames).ok()?;
        cursor.value(1).ok()?;
        Some(cursor.is_at_end())
    };
    quietly(py, read).unwrap_or(false)
}

/// For tests: `value` to six decimals.
#[pyfunction]
fn round(value: f64) -> f64 {
    rules::round(value)
}

#[pymodule]
fn attestlog_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // A panic is an answer, "ask Python", and nothing to be printed.
    std::panic::set_hook(Box::new(|_| {}));
    module.add("FORMAT", FORMAT)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Judge>()?;
    module.add_function(wrap_pyfunction!(edge, module)?)?;
    module.add_function(wrap_pyfunction!(candidates, module)?)?;
    module.add_function(wrap_pyfunction!(is_canonical, module)?)?;
    module.add_function(wrap_pyfunction!(round, module)?)?;
    Ok(())
}
