//! What kernels have made of a buffer's contents, kept while these stay as they are.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;

/// Forms of parts of a buffer, by where each part starts. Whoever is to write to the buffer drops them all.
#[derive(Default)]
pub(super) struct Derived(Mutex<HashMap<usize, Form>>);

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
enum Form {
    /// Asked for once, and not kept.
    Made,
    Kept(Arc<dyn Any + Send + Sync>),
}

impl Derived {
    pub fn clear(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A part of a buffer, in whose forms kernels may find what they have made of it.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub(super) derived: &'a Derived,
    /// The part's first byte.
    pub(super) at: usize,
}

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
impl Part<'_> {
    /// The form of this part for which `fits` holds, made by `make` unless there is one. It is kept from the second
    /// time on that one is asked for: what changes after each use, as weights do in most training, is not worth the
    /// memory. A part has one form at a time.
    ///
    /// Errors as `make` does.
    pub fn form<F: Any + Send + Sync>(
        self,
        fits: impl FnOnce(&F) -> bool,
        make: impl FnOnce() -> Result<F>,
    ) -> Result<Arc<F>> {
        let forms = || self.derived.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match forms().get(&self.at) {
            Some(Form::Kept(form)) => Arc::clone(form).downcast::<F>().ok(),
            _ => None,
        };
        if let Some(form) = kept.filter(|form| fits(form)) {
            return Ok(form);
        }
        // Not under the lock: whoever makes it may use other threads.
        let form = Arc::new(make()?);
        let mut forms = forms();
        let again = forms.contains_key(&self.at);
        forms.insert(self.at, if again { Form::Kept(form.clone()) } else { Form::Made });
        Ok(form)
    }
}
