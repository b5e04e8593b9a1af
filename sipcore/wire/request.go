package wire

// AppendACK appends the ACK to a non-2xx final response to invite, which is the INVITE as sent (RFC 3261 §17.1.1.3).
func AppendACK(dst []byte, invite, final *Msg) ([]byte, error) { return dst, ErrNoField }

// AppendCANCEL appends the CANCEL for invite, which is the INVITE as sent (RFC 3261 §9.1). Fields are added: Reason.
func AppendCANCEL(dst []byte, invite *Msg, fields ...Field) ([]byte, error) { return dst, ErrNoField }
