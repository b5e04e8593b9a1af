package cluster

import "holdline/cluster/submit"

// Batch implements link.Handler: a peer's writes, if this node leads.
func (h linkHandler) Batch(from uint32, batch []byte) bool {
	l := h.e.lead.Load()
	if l == nil {
		return false
	}
	if err := submit.CheckBatch(batch); err != nil {
		h.e.logger.Error("refused writes of a peer: is its release newer?", "peer", h.e.name(from), "err", err)
		return false
	}
	return l.gatherer.Add(batch, from)
}
