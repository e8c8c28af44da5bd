//! The limit on a provider's memory.
//!
//! Counts all memories of an instance together, and remembers that it refused: what a guest says when it gets no memory differs
//! from language to language, and often does not mention memory.

use wasmtime::ResourceLimiter;

/// Elements of all tables together, 8 bytes each: the function table of a large interpreter has some ten thousand.
const MAX_TABLE_ELEMENTS: usize = 1_000_000;

/// Core instances of one component; interpreters with their adapters have some thirty.
const MAX_INSTANCES: usize = 1_000;

/// Tables of one component.
const MAX_TABLES: usize = 1_000;

/// Memories of one component.
const MAX_MEMORIES: usize = 100;

/// Counts the memory of one instance.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: usize,
    used: usize,
    table_elements: usize,
    refused: bool,
}

impl Limiter {
    /// Allows this many bytes.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { limit: usize::try_from(limit_bytes).unwrap_or(usize::MAX), used: 0, table_elements: 0, refused: false }
    }

    /// The limit, when the guest ran into it.
    pub(crate) fn refused(&self) -> Option<usize> {
        self.refused.then_some(self.limit)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_sub(current).saturating_add(desired);
        if wanted > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.table_elements.saturating_sub(current).saturating_add(desired);
        if wanted > MAX_TABLE_ELEMENTS {
            return Ok(false);
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter;

    use super::Limiter;

    #[test]
    fn counts_all_memories_together() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(40, 41, None).unwrap());
        assert_eq!(limiter.refused(), Some(100));
    }
}
