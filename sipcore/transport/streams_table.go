package transport

import (
	"bytes"
	"net/netip"
	"slices"

	"holdline/fsm/pb"
)

// connList is a list of connections in the order in which they came.
type connList struct {
	first, last *conn
	n           int
}

func (l *connList) push(c *conn) {
	c.listed, c.prev, c.next = true, l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

func (l *connList) remove(c *conn) {
	if !c.listed {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.listed, c.prev, c.next = false, nil, nil
	l.n--
}

// admit gives an accepted connection a number and a place in the table, if there is room. Of those that have not said
// anything yet the oldest makes room: an honest peer is done within a round trip or two.
func (s *Streams) admit(c *conn) bool {
	gateway := s.o.Gateway != nil && s.o.Gateway(c.flow.Remote.Addr().Unmap())
	s.mu.Lock()
	if s.closed || len(s.conns) >= s.o.Limits.Conns || s.sources[c.source] >= s.o.Limits.ConnsPerSource {
		s.mu.Unlock()
		return false
	}
	var oldest *conn
	if s.unproven.n >= s.o.Limits.Unproven {
		oldest = s.unproven.first
		s.unproven.remove(oldest)
	}
	s.enter(c)
	s.sources[c.source]++
	s.remotes[c.flow.peer()] = c
	if gateway {
		s.gateways[c] = true
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	s.unproven.push(c)
	s.mu.Unlock()
	if oldest != nil {
		s.counters.evicted.Add(1)
		oldest.reset(endEvicted)
	}
	return true
}

// enter needs s.mu.
func (s *Streams) enter(c *conn) {
	s.number++
	c.flow.Conn = s.number
	s.conns[c.flow.Conn] = c
}

// proven says that a connection has sent a whole message.
func (s *Streams) proven(c *conn) {
	s.mu.Lock()
	s.unproven.remove(c)
	s.mu.Unlock()
}

// leave takes a connection out of the table.
func (s *Streams) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c.flow.Conn] != c {
		return
	}
	delete(s.conns, c.flow.Conn)
	delete(s.gateways, c)
	s.unproven.remove(c)
	s.forget(c.flow.peer(), c)
	s.forget(c.alias, c)
	if k := c.flow.peer(); s.remotes[k] == c {
		delete(s.remotes, k)
	}
	if c.dialed {
		return
	}
	if s.sources[c.source]--; s.sources[c.source] <= 0 {
		delete(s.sources, c.source)
	}
}

// forget takes a connection out of peers. It needs s.mu.
func (s *Streams) forget(k peerKey, c *conn) {
	i := slices.Index(s.peers[k], c)
	switch {
	case i < 0:
	case len(s.peers[k]) == 1:
		delete(s.peers, k)
	default:
		s.peers[k] = slices.Delete(s.peers[k], i, i+1)
	}
}

// Reuse lets requests to port at the peer's address go over a connection that the peer has opened (RFC 5923 §5). The caller
// vouches for the peer: whoever opened the connection gets what is meant for that address. Over TLS that is no proof of a name, and where
// one is wanted (VerifyPeers) requests go over connections of ours.
func (s *Streams) Reuse(number uint64, port uint16) {
	s.mu.RLock()
	c := s.conns[number]
	s.mu.RUnlock()
	if c == nil || c.dialed || port == 0 {
		return
	}
	k := c.flow.peer()
	k.remote = netip.AddrPortFrom(k.remote.Addr(), port)
	s.mu.RLock()
	same := len(s.peers[k]) > 0 && s.peers[k][0] == c
	s.mu.RUnlock()
	if same {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[number] != c {
		return
	}
	s.forget(c.alias, c)
	c.alias = k
	s.peers[k] = slices.Insert(s.peers[k], 0, c)
}

// Has reports whether this node has a connection with the flow's peer, whatever its number.
func (s *Streams) Has(f Flow) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.remotes[f.peer()] != nil || len(s.peers[f.peer()]) > 0
}

// FromGateways are the flows of the connections that gateways have opened, in no order. One that was open before its address was known for a gateway's is none of them.
func (s *Streams) FromGateways() []Flow {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Flow, 0, len(s.gateways))
	for c := range s.gateways {
		out = append(out, c.flow)
	}
	return out
}

// GatewaysChanged gets something when gateways have opened connections since it was last read.
func (s *Streams) GatewaysChanged() <-chan struct{} { return s.changed }

// among returns the connection of peers that a message for who goes over. It needs s.mu.
func (s *Streams) among(k peerKey, who callee) (found *conn) {
	for _, c := range s.peers[k] {
		if who.name == "" || len(c.proof) == 1 && c.proof[0] == who.name {
			return c
		}
		if found == nil && who.dialog && len(c.proof) > 0 {
			found = c
		}
	}
	return found
}

// find returns the connection that a message to this flow goes over.
func (s *Streams) find(to Flow, who callee, response bool) *conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if to.Conn != 0 {
		if c := s.conns[to.Conn]; c != nil && c.flow.Group == to.Group {
			return c
		}
		return nil
	}
	k := to.peer()
	if c := s.among(k, who); c != nil {
		return c
	}
	if response {
		return s.remotes[k] // the request came from there
	}
	return nil
}

// usable is find for what is sent at once. It gives up those connections that nothing may be sent over any more.
func (s *Streams) usable(to Flow, who callee, response bool) *conn {
	for {
		c := s.find(to, who, response)
		if c == nil || c.current() && (to.Conn != 0 || !c.isClosed()) {
			return c
		}
		c.reset(endLost) // a thawed owner has not yet heard that it lost the group; one that is closed is about to go anyway
		s.leave(c)
	}
}

// send sends a copy of data: over the connection that the flow names, else over one to its peer, else over a new one. A
// request to a phone goes over its own connection or not at all. It never blocks.
func (s *Streams) send(to Flow, data []byte) {
	response := bytes.HasPrefix(data, []byte("SIP/2.0 "))
	who := s.calleeOf(to, data, response)
	c := s.usable(to, who, response)
	if c != nil {
		if !c.send(data) {
			s.undelivered(c.flow.Conn, data)
		}
		return
	}
	if to.Conn != 0 && response {
		to.Conn = 0
		if c = s.usable(to, who, true); c == nil && s.o.Fallback != nil { // RFC 3261 §18.2.2
			var ok bool
			if to.Remote, ok = s.o.Fallback(data); !ok {
				s.undelivered(to.Conn, data)
				return
			}
			c = s.usable(to, who, true)
		}
		if c != nil {
			if !c.send(data) {
				s.undelivered(c.flow.Conn, data)
			}
			return
		}
	}
	if to.Conn != 0 || to.Proto != pb.Transport_TCP && to.Proto != pb.Transport_TLS || !s.dial(to, who, data) {
		s.undelivered(to.Conn, data)
	}
}

// undelivered counts a message and tells of a request.
func (s *Streams) undelivered(conn uint64, data []byte) {
	s.counters.undelivered.Add(1)
	if !bytes.HasPrefix(data, []byte("SIP/2.0 ")) {
		s.o.Undelivered(conn, data)
	}
}
