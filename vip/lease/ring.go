package lease

const ringSize = 256

// ring remembers when recent packets were sent, and what length of grant they asked for.
type ring [ringSize]sentPacket

type sentPacket struct {
	seq   uint64
	at    int64
	grant int64
}

func (r *ring) put(seq uint64, at, grant int64) { r[seq%ringSize] = sentPacket{seq, at, grant} }

// get returns the packet of that number, if it is still remembered.
func (r *ring) get(seq uint64) (sentPacket, bool) {
	s := r[seq%ringSize]
	return s, s.seq == seq && seq != 0
}
