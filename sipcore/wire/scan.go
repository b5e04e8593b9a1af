package wire

// Scan indexes b, a whole message of at most MaxMessage bytes, without copying or allocating. The error is a ScanError
// naming the first fault; the scan goes on after most faults, so that a request can be answered: see Answerable.
func (m *Msg) Scan(b []byte) error { return ErrNotSIP }
