package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"holdline/cluster/api"
)

// The join protocol: JSON messages on a TLS connection whose server the joiner has checked against the token's CA hash.
//
//	joiner → member   joinHello: who, and the one-use secret
//	member → joiner   joinOffer: what the joiner must check, and what reaching back to it showed
//	joiner → member   joinAccept: go on
//	member → joiner   joinGrant: certificate, cluster key, member table
//
// Nothing is changed in the cluster before joinAccept. Instead of any message of a member a joinOffer or joinGrant with an error
// may come.
type joinHello struct {
	Secret       []byte `json:"secret"`
	UUID         string `json:"uuid"`
	Name         string `json:"name"`
	Listen       string `json:"listen"`
	FeatureLevel uint32 `json:"feature_level"`
	Version      string `json:"version"`
	Nonce        []byte `json:"nonce"` // of the datagrams that test the way back
}

type joinOffer struct {
	Error  *api.Error `json:"error,omitempty"`
	WallMs int64      `json:"wall_ms"` // when it was sent
	VIPs   []joinVIP  `json:"vips"`
}

type joinVIP struct {
	Prefix string `json:"prefix"`
	Owned  bool   `json:"owned"` // somebody answers for it on the network now
}

type joinAccept struct {
	Accept bool `json:"accept"`
}

type joinGrant struct {
	Error      *api.Error      `json:"error,omitempty"`
	Cluster    string          `json:"cluster"`
	Cert       []byte          `json:"cert"`
	ClusterKey []byte          `json:"cluster_key"`
	Members    json.RawMessage `json:"members"`
}

const (
	joinMessageMax = 256 << 10
	joinTimeout    = 15 * time.Second
)

// joinConn exchanges messages, each with a deadline and a bound.
type joinConn struct {
	conn net.Conn
	dec  *json.Decoder
	lim  *io.LimitedReader
}

func newJoinConn(conn net.Conn) *joinConn {
	lim := &io.LimitedReader{R: conn, N: joinMessageMax}
	return &joinConn{conn: conn, dec: json.NewDecoder(lim), lim: lim}
}

func (c *joinConn) send(v any) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(joinTimeout)); err != nil {
		return err
	}
	if err := json.NewEncoder(c.conn).Encode(v); err != nil {
		return fmt.Errorf("send join message: %w", err)
	}
	return nil
}

func (c *joinConn) receive(v any) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(joinTimeout)); err != nil {
		return err
	}
	c.lim.N = joinMessageMax
	if err := c.dec.Decode(v); err != nil {
		return fmt.Errorf("read join message: %w", err)
	}
	return nil
}
