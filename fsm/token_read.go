package fsm

// Token tells whether a join token with this hash is known, and whether it can no longer be used by another node at wallMs: it has
// expired. ConsumeToken decides; this is for refusing early.
func (m *Machine) Token(hash []byte, wallMs int64) (known, expired bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.st.conf.tokens[string(hash)]
	return t != nil, t != nil && wallMs >= t.ExpiresWallMs
}
