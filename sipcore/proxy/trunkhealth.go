package proxy

// What REGISTERs tell of a gateway counts as probes do: some answer no OPTIONS, but those.

// registerResult is the last answer of a member to a REGISTER, if at is not 0; until when it says that the member is there; and whether the last REGISTER was
// left unanswered.
type registerResult struct {
	at, till int64
	silent   bool
}

// says reports whether the member is there by what it has answered.
func (r *registerResult) says(now int64) bool { return r.at != 0 && !r.silent && now < r.till }

// answeredRegister notes that a member has answered a REGISTER; the next one comes before till.
func (h *Health) answeredRegister(pool, member string, now, till int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.told[memberName{pool, member}]
	r.register = registerResult{at: now, till: till}
	h.note(pool, member, r)
}

// silentRegister notes that a member has not answered a REGISTER that was made at asked. It reports whether it has answered one before, and whether it has
// answered a probe since: then it is there, and merely takes no registrations.
func (h *Health) silentRegister(pool, member string, asked int64) (answers, there bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.told[memberName{pool, member}]
	r.register.silent = true
	h.note(pool, member, r)
	return r.register.at != 0, r.at > asked && !r.silent
}

// ForgetRegister drops what REGISTERs have told of a member: this node makes them no more.
func (h *Health) ForgetRegister(pool, member string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := memberName{pool, member}
	r, ok := h.told[k]
	if !ok {
		return
	}
	if r.register = (registerResult{}); r == (probeResult{}) {
		delete(h.told, k)
		return
	}
	h.told[k] = r
}
