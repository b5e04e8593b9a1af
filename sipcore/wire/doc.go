// Package wire reads and edits SIP messages where they lie: one pass over the raw bytes yields spans, and edits are
// spliced into a copy that keeps every byte no rule changes. Reading is tolerant, writing strict.
//
// Nothing here allocates on the relay path, keeps state or does I/O. See DESIGN.md.
package wire
