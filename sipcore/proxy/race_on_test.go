//go:build race

package proxy

// raced: the race detector makes sync.Pool forget at random, so pooled buffers are allocated now and then.
const raced = true
